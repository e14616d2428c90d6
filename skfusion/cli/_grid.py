"""A table on a terminal of any width: where its columns do not fit, some are left out, and a line says which."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

LEAST = 12
"""Columns of the terminal that a text has, which is folded; other cells are never broken."""
_BETWEEN = 3
"""Columns of the terminal between two columns of a table, which has one more at each end."""


def print_grid(
    console: Console,
    columns: Mapping[str, Sequence[str]],
    texts: Collection[str],
    left: Collection[str] = (),
    can_go: Sequence[str] = (),
) -> None:
    """Print columns of cells under their headings.

    ``texts`` are headings of what may be folded; these and ``left`` are aligned to the left. Those in ``can_go`` are
    left out, in this order, where the terminal is too narrow.
    """
    widths = {}
    for heading, cells in columns.items():
        longest = max(map(cell_len, (heading, *cells)))
        widths[heading] = min(longest, LEAST) if heading in texts else longest
    gone: list[str] = []
    for heading in can_go:
        if sum(widths.values()) + _BETWEEN * len(widths) - 1 <= console.width:
            break
        gone += [heading] * (widths.pop(heading, None) is not None)
    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading, width in widths.items():
        justify = "left" if heading in {*texts, *left} else "right"
        if heading in texts:
            grid.add_column(heading, justify=justify, overflow="fold", min_width=width)
        else:
            grid.add_column(heading, justify=justify, no_wrap=True)
    for row in zip(*(columns[heading] for heading in widths), strict=True):
        grid.add_row(*map(escape, row))
    console.print(grid)
    if gone:
        console.print(f"This terminal has no room for {', '.join(gone)}.", highlight=False)
