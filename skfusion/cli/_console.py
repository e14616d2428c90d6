"""What commands share: options that name checkpoints and tasks, how a command says how far it is, and how it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn

from skfusion.cli.commands._choices import among

CHECKPOINTS = Annotated[
    list[Path],
    typer.Argument(
        metavar="CHECKPOINT",
        help="Files (.safetensors, .pt, .pth, .bin, .ckpt), folders with one, indices of shards, or pools.",
        show_default=False,
    ),
]
BASE = Annotated[Path | None, typer.Option(help="What the checkpoints were fine-tuned from.")]
KEY = Annotated[
    str | None, typer.Option(help="The entry with the state in files of torch.save, such as ema or ema.module.")
]
STRIP_PREFIX = Annotated[
    list[str] | None, typer.Option(help="Beginning of names, such as model., to take off where it is; repeat.")
]
TARGET = Annotated[str | None, typer.Option(help="Column to predict, in tables.")]
TASKS = ("auto", "classification", "regression")
TASK = Annotated[str, typer.Option(help="auto, classification or regression.", autocompletion=among(TASKS))]
JSON = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, and nothing else, to the standard output.")
]
QUIET = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the result alone, in its shortest form; errors and warnings stay.")
]


def message_of(error: Exception) -> str:
    """Return the message of an error, with the name of the file where it has one."""
    if not isinstance(error, OSError):
        return str(error)
    message = error.strerror or str(error)
    return message if error.filename is None else f"{error.filename}: {message}."


def fail(message: str, code: int) -> NoReturn:
    """Show a message on the standard error, and end the command with an exit code."""
    Console(stderr=True).print(f"[bold red]Error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code) from None


def warn(message: str) -> None:
    """Show a warning on the standard error."""
    Console(stderr=True).print(f"[yellow]Warning:[/] {escape(message)}", highlight=False, soft_wrap=True)


@contextmanager
def working(what: str, quiet: bool = False) -> Iterator[None]:
    """Show on the standard error what is being done, where nobody knows how far it is; nothing where ``quiet``."""
    console = Console(stderr=True, quiet=quiet)
    if not console.is_interactive:
        console.print(f"{what} ...", markup=False, highlight=False, soft_wrap=True)
        yield
        return
    with console.status(escape(what)):
        yield


FIRST, EVERY = 1.0, 10.0
"""Seconds until the first line, and between lines."""


@contextmanager
def progress(
    columns: Sequence[ProgressColumn],
    amount: Callable[[int], str] = str,
    each: bool = False,
    quiet: bool = False,
) -> Iterator[Callable[[str, int, int], None]]:
    """Show on the standard error how far a command is.

    Yields a callable that takes what is being done, how much is done, and how much there is; ``amount`` formats these
    numbers. When less is done than before, a new bar starts. Where there is no terminal, lines are printed: one a
    call where ``each`` says so, else now and then. Nothing is shown where ``quiet`` says so.
    """
    if quiet:
        yield lambda what, done, total: None
        return
    console = Console(stderr=True)
    if not console.is_interactive:
        due = time.monotonic() + FIRST

        def print_line(what: str, done: int, total: int) -> None:
            nonlocal due
            now = time.monotonic()
            if each or now >= due:
                due = now + EVERY
                share = f" ({done / total:.0%})" if total else ""
                text = f"{what}: {amount(done)} of {amount(total)}{share}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield print_line
        return
    with Progress(*columns, console=console, transient=True) as bar:
        job, before = bar.add_task("Opening", total=None), 0

        def update(what: str, done: int, total: int) -> None:
            nonlocal before
            if done < before:
                bar.reset(job, total=total)
            bar.update(job, description=what, completed=done, total=total)
            before = done

        yield update


def in_bytes(n_bytes: int) -> str:
    """Return a number of bytes in a unit that suits it."""
    if n_bytes < 1024:
        return f"{n_bytes} B"
    power = next((p for p in (1, 2) if round(n_bytes / 1024**p, 1) < 1024), 3)
    return f"{n_bytes / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"
