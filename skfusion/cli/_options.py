"""Options of all commands that read checkpoints, and how a command ends where it cannot do what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

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
TASK = Annotated[str, typer.Option(help="auto, classification or regression.")]


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
