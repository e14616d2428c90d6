"""The leaderboard of a comparison on a terminal of any width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skfusion.cli import _report

_BETWEEN = 3
"""Columns of the terminal between two columns of a table, which has one more at each end."""


def show(console: Console, title: str, table: Any, score: str, best: str) -> None:
    """Print the table of ``compare_fusions`` by its score, with the best fusion in bold.

    Columns that do not fit beside the others follow in a table below.
    """
    ranked = _report.ranked(table, score)
    names = [str(name) for name in ranked.index]
    cells = {h: [text(row) for _, row in ranked.iterrows()] for h, text in _report.columns(table, score).items()}
    for k, widths in enumerate(fitting(names, cells, console.width)):
        grid = Table(title=None if k else escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        grid.add_column("fusion", no_wrap=True, overflow="fold")
        for heading, width in widths.items():
            grid.add_column(heading, justify="right", width=width)
        for row, name in enumerate(names):
            grid.add_row(escape(name), *(cells[h][row] for h in widths), style="bold" if name == best else None)
        console.print(grid)


def fitting(names: Sequence[str], cells: Mapping[str, Sequence[str]], width: int) -> list[dict[str, int]]:
    """Return the widths of columns by their headings, for as many tables as the width of a terminal needs.

    ``cells`` are the columns by their headings, and ``names`` those of the rows of each table. Where they do not fit
    into one table, headings are broken between words, and what can wait comes last.
    """
    start = max(map(len, ("fusion", *names))) + 2
    whole = {heading: max(map(len, (heading, *column))) for heading, column in cells.items()}
    broken = {heading: max(map(len, (*heading.split(), *column))) for heading, column in cells.items()}
    for widths in (whole, broken):
        if start + sum(_BETWEEN + w for w in widths.values()) <= width:
            return [widths]
    tables: list[dict[str, int]] = []
    for waits in (False, True):
        room = 0
        for heading in (h for h in cells if (h in _report.CAN_WAIT) == waits):
            if (room := room - _BETWEEN - broken[heading]) < 0:
                tables.append({})
                room = width - start - _BETWEEN - broken[heading]
            tables[-1][heading] = broken[heading]
    return tables
