"""The command line: ``skfusion compare``, ``skfusion diagnose``, ``skfusion merge`` and ``skfusion pool``.

The options of each command stand in a file of its name in `commands`, so that help is there at once; what the command
does, and prints, stands in the file of the same name here, which is imported when the options have been read. What it
needs beside that has a file here, and all else is what other rooms offer: files are read in `_sources`; columns of
tables are sorted in `_columns`, `_dates` and `_prepare`, and made data in `_table`; fusions by name stand in
`_fusions`, scorers in `_scoring`; results are shown by `_leaderboard`, `_json` and `_report`; rows to judge networks on
are in `_judged`, architectures in `_modules`, pools as tables in `_pool_tables`, options and bars in `_console`, tables
of any width in `_grid`, values for JSON in `_plain`, the help of commands in `_help`, what a misspelt name was meant to
be in `_near`, what shells complete in `commands/_choices`, what a comparison comes to in `_verdict`, and the table of
its report in `_board`. This is the top room: it may import every other one, and is the only one that imports typer and
prints. A new command is two such files, and its name in ``COMMANDS``.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from rich.console import Console

from skfusion import __version__
from skfusion.cli._help import Command, Group
from skfusion.cli.commands._imported import collector_at_rest

__all__ = ["main"]

NAME, COMPLETING = "skfusion", "_SKFUSION_COMPLETE"
"""The script, and the variable by which shells ask it what may follow."""
COMMANDS = ("compare", "diagnose", "merge", "pool")
"""Each is a function, or a group of commands, in a file of its name in `commands`."""


class Commands(Group):
    """The commands, whose options are imported where they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, or None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"skfusion.cli.commands._{cmd_name}"), cmd_name)
        if isinstance(found, typer.Typer):
            group = typer.main.get_command(found)
            group.name = cmd_name
            return group
        single = typer.Typer(add_completion=False)
        single.command(cmd_name, cls=Command)(found)
        return typer.main.get_command(single)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *more: Any, **extra: Any) -> Any:
        """Run a command; what is about completion by a shell is about the script, also in ``python -m skfusion``."""
        words = sys.argv[1:] if args is None else args
        if COMPLETING in os.environ or {"--install-completion", "--show-completion"} & {*words}:
            prog_name = NAME
        return super().main(args, prog_name, *more, **extra)


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line; the garbage collector rests until what the command needs is imported."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # a letter that a terminal has not is no reason to end
    with collector_at_rest():
        try:
            app()
        except OSError as error:
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            sys.exit(f"Error: The output cannot be written: {error.strerror}.")


def _show_version(asked: bool) -> None:
    if asked:
        Console().print(f"skfusion {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def skfusion(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Fuse several trained networks into one better predictor."""
