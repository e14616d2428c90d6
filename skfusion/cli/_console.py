"""What commands share: options that name checkpoints and tasks, how a command says how far it is, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from skfusion._progress import Bar
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

FASTER = ("Surveying",)
"""What is done at a faster pace than what follows it: a pass of a merge that only reads."""


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


@contextmanager
def progress(
    amount: Callable[[Any], str] = str, each: bool = False, quiet: bool = False
) -> Iterator[Callable[[str, int, int], None]]:
    """Show on the standard error how far a command is; see :class:`skfusion._progress.Bar`.

    Yields a callable that takes what is being done, how much is done, and how much there is; ``amount`` formats these
    numbers. When less is done than before, a new bar starts. Where there is no terminal, lines are printed: one a
    call where ``each`` says so, else now and then. Nothing is shown where ``quiet`` says so.
    """
    with Bar(console=Console(stderr=True, quiet=quiet), amount=amount, each=each) as bar:
        yield lambda what, done, total: bar.update(what, done, total, phase=what, more=what in FASTER)


def in_bytes(n_bytes: int) -> str:
    """Return a number of bytes in a unit that suits it."""
    if n_bytes < 1024:
        return f"{n_bytes} B"
    power = next((p for p in (1, 2) if round(n_bytes / 1024**p, 1) < 1024), 3)
    return f"{n_bytes / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"
