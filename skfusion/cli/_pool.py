"""What ``skfusion pool ls``, ``show``, ``verify``, ``rm`` and ``merge`` do: pools on disk."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from skfusion.cli._console import fail, message_of, progress, warn
from skfusion.cli._near import did_you_mean
from skfusion.cli._plain import print_json
from skfusion.cli._pool_tables import listed, print_listing, print_member, printable, record
from skfusion.pool import Contents, DirectoryStore, contents, merge_folders


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """End the command with a line on the standard error where the pool or an argument is wrong."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        fail(str(error.args[0]) if isinstance(error, KeyError) else message_of(error), 2)
    except OSError as error:
        fail(message_of(error), 2 if isinstance(error, FileNotFoundError | NotADirectoryError) else 1)


def names_in(folder: Path | str) -> list[str]:
    """Return the names of the members of a pool."""
    return [member.name for member in contents(folder).members]


def ls(folder: Path, as_json: bool, quiet: bool) -> None:
    """Print the members of a pool, by their names alone where ``quiet``."""
    with _one_line_errors():
        found = contents(folder)
    if as_json:
        print_json(listed(found))
    elif quiet:
        for member in found.members:
            typer.echo(printable(member.name))
    else:
        print_listing(Console(), found)


def show(folder: Path, name: str, as_json: bool, quiet: bool) -> None:
    """Print all that is known of a member; without its tensors where ``quiet``."""
    with _one_line_errors():
        found = contents(folder)
        member = found.members[_place(found, name)]
    if as_json:
        print_json(record(found, member))
        return
    print_member(Console(), found, member, tensors=not quiet)


def verify(folder: Path, as_json: bool, quiet: bool) -> None:
    """Read all files of a pool, print which are damaged, and end with 1 where one is."""
    with _one_line_errors():
        found = contents(folder)
        n_files = len({name for m in found.members for name in (m.files or {}).values()}) + (found.base is not None)
        faults = {}
        with progress(quiet=quiet) as update:
            for k, (name, fault) in enumerate(found.faults(), 1):
                update("Checking", k, n_files)
                if fault is not None:
                    faults[name] = fault
    if as_json:
        left = [*found.left_over]
        result = {"path": str(folder), "n_files": n_files, "faults": faults, "left_over": left, "torn": found.torn}
        print_json({**result, "sound": not faults})
    elif quiet:
        for file in faults:
            typer.echo(file)
    else:
        _say_faults(Console(), found, faults, n_files)
    if faults:
        raise typer.Exit(1)


def _say_faults(console: Console, found: Contents, faults: dict[str, str], n_files: int) -> None:
    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    for name, fault in faults.items():
        say(f"[bold red]{escape(name)}[/] is {escape(printable(fault))}.")
    for name in found.left_over:
        say(f"[yellow]{escape(name)}[/] is left over: no member has it. It may be removed where no process is writing.")
    if found.torn:
        say("[yellow]Note:[/] the journal ends in half a line: a writer was cut off, and its member is not there.")
    files = "1 file" if n_files == 1 else f"{n_files} files"
    if faults:
        say(f"{len(faults)} of {files} are damaged or missing. Restore them from a backup; other members can be read.")
    else:
        say(f"{files} of {len(found.members)} members are as they were written.")


def rm(folder: Path, names: list[str], yes: bool, as_json: bool, quiet: bool) -> None:
    """Remove members by their names or patterns, after a question where ``yes`` does not answer it."""
    with _one_line_errors():
        chosen = _matching(contents(folder), names)
    some = "1 member" if len(chosen) == 1 else f"{len(chosen)} members"
    shown = ", ".join(map(printable, chosen[:5])) + (", ..." if len(chosen) > 5 else "")
    if not yes:
        if not asking():
            fail(f"This would remove {some} ({shown}), and there is no terminal to ask. Give --yes.", 2)
        if not typer.confirm(f"Remove {some} ({shown})?", err=as_json or quiet):
            Console(stderr=as_json or quiet).print("Nothing is removed.")
            raise typer.Exit(1)
    with _one_line_errors():
        store = DirectoryStore(folder)
        for name in chosen:
            store.delete(name)
    if as_json:
        print_json({"path": str(folder), "removed": chosen})
    elif not quiet:
        Console().print(escape(f"Removed {some}: {shown}."), highlight=False, soft_wrap=True)


def merge(folders: list[Path], out: Path, prefix: bool, as_json: bool, quiet: bool) -> None:
    """Make one pool of the members of several, and print how many were written."""
    with _one_line_errors(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        written = merge_folders(folders, out, prefix=prefix)
    for message in dict.fromkeys(str(w.message) for w in caught):
        warn(message)
    if as_json:
        print_json({"path": str(out), "written": written})
        return
    if quiet:
        typer.echo(out)
        return
    members = "1 member" if len(written) == 1 else f"{len(written)} members"
    Console().print(escape(f"Wrote {members} to {out}."), highlight=False, soft_wrap=True)


def asking() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty()


def _place(found: Contents, name: str) -> int:
    """Return the position of a member; raise where there is none of this name."""
    names = [m.name for m in found.members]
    if name not in names:
        near = did_you_mean(name, names)
        raise ValueError(f"There is no member {printable(name)} in {found.path}. {_some(names)}{near}")
    return names.index(name)


def _matching(found: Contents, patterns: Sequence[str]) -> list[str]:
    """Return the names of members that have a name, or match a pattern, in their order; raise where none does."""
    names = [m.name for m in found.members]
    chosen: set[str] = set()
    for pattern in patterns:
        near = did_you_mean(pattern, names)
        matched = {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            raise ValueError(f"No member of {found.path} is called {printable(pattern)}. {_some(names)}{near}")
        chosen |= matched
    return [name for name in names if name in chosen]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:5])) + (", ..." if len(names) > 5 else "")
    return f"There are {shown}." if names else "It has no members."
