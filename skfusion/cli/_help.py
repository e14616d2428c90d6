"""The help of commands, which can be read on a terminal of any width: no name is cut, and no column is a word wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup


class Readable:
    """Shows names of options in a third of the width; what is wider has a line of its own, above what is said of it.

    The panels that typer shows in its place cut names where they do not fit.
    """

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
