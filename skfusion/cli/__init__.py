"""The command line: ``skfusion compare``, ``skfusion diagnose``, ``skfusion merge`` and ``skfusion pool``.

Each command is a function in a file of its name, which only reads its options and prints; what it needs beside that has
a file here, and all else is what other rooms offer: files are read in `_sources`; columns of tables are sorted in
`_columns`, `_dates` and `_prepare`, and made data in `_table`; fusions by name stand in `_fusions`, scorers in
`_scoring`; results are shown by `_leaderboard`, `_json` and `_report`; rows to judge networks on are in `_judged`,
architectures in `_modules`, pools as tables in `_pool_tables`, options and bars in `_console`, values for JSON in
`_plain`, the help of commands in `_help`. This is the top room: it may import every other one, and is the only one that
imports typer and prints. A new command is such a file, and its name in ``COMMANDS``.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from rich.console import Console

from skfusion import __version__
from skfusion.cli._help import Command, Group

__all__ = ["main"]

COMMANDS = ("compare", "diagnose", "merge", "pool")
"""Each is a function, or a group of commands, in a file of its name."""


class Lazy(Group):
    """Commands that are imported when they are named, as some of them take seconds to import."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, or None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"skfusion.cli._{cmd_name}"), cmd_name)
        if isinstance(found, typer.Typer):
            group = typer.main.get_command(found)
            group.name = cmd_name
            return group
        single = typer.Typer(add_completion=False)
        single.command(cmd_name, cls=Command)(found)
        return typer.main.get_command(single)


app = typer.Typer(cls=Lazy, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line."""
    app()


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
