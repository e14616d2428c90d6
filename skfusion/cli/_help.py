"""How commands are found and their options read, and help that can be read on a terminal of any width.

A misspelt command or option is refused with the name that is most like it. In help no name is cut, and no column is a
word wide.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from typer.core import TyperCommand, TyperGroup


class Readable:
    """Shows names of options in a third of the width; what is wider has a line of its own, above what is said of it.

    The panels that typer shows in its place cut names where they do not fit.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the options; where one is misspelt, the error names the one that is most like it."""
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc]
        except Exception as error:
            if near := getattr(error, "possibilities", None):
                error.message = f"{error.message}. Did you mean {near[0]!r}?"  # type: ignore[attr-defined]
                error.possibilities = None  # type: ignore[attr-defined]
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of a command."""
        for write in (self.format_usage, self.format_help_text, self.format_options, self.format_epilog):
            write(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the options and, for a group, the commands."""
        records = [(param, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            if rows := [record for param, record in records if record and param.param_type_name == kind]:
                with formatter.section(title):
                    _write(formatter, rows)
        if hasattr(self, "format_commands"):
            self.format_commands(ctx, formatter)


class Command(Readable, TyperCommand):
    """A command."""


class Group(Readable, TyperGroup):
    """Commands under one name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that arguments begin with; where it is misspelt, the error names the one like it."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not ctx.resilient_parsing:
            near = get_close_matches(name.lower(), known, 1)
            ctx.fail(f"No such command {name!r}.{f' Did you mean {near[0]!r}?' if near else ''}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names of the commands, each with its whole first sentence."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            _write(formatter, [(name, command.get_short_help_str(limit=1000)) for name, command in commands])


def _write(formatter: Any, rows: Sequence[tuple[str, str]]) -> None:
    """Write names, and beside them what is said of them, broken between words only and not within names."""
    indent, longest = formatter.current_indent, max(len(name) for name, _ in rows)
    start = min(longest, formatter.width // 3) + 2
    for name, text in rows:
        width = formatter.width - indent - start
        lines = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]
        if len(name) + 2 > start:
            formatter.write(f"{'':{indent}}{name}\n")
            name = ""
        for line in lines:
            formatter.write(f"{'':{indent}}{name:{start}}{line}\n")
            name = ""
