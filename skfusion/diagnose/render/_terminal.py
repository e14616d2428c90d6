"""The report as tables of rich, which fit the width of a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from skfusion.diagnose.render._tables import Column, members, pairs, together

_COLOURS = {"yes": "bold green", "no": "dim", "maybe": "yellow"}
_LONG = 20
"""Longer names are replaced by numbers, or folded."""
_NUMBERS = 53
"""About the width of the numbers of a pair."""


class Fitted:
    """A table that is made for the width that it gets: ``make(width)`` yields ever narrower ones to choose from."""

    def __init__(self, make: Callable[[int], Iterator[Grid]]):
        self.make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Grid]:
        """Yield the first table that fits, or the last one."""
        for table in self.make(options.max_width):
            if Measurement.get(console, options.update(max_width=1000), table).minimum <= options.max_width:
                break
        yield table


def tables(report: Any) -> Group:
    """Return the report as something that rich prints."""
    parts: list[Any] = [Fitted(lambda width: _members(report, width))]
    columns = pairs(report, brief=True).columns
    falls = [column for column in columns if column.name.startswith(("fall_", "midpoint_"))]
    alike = [column for column in columns if column not in falls]
    if falls:
        title = (
            f"Pairs: fall of the {report.score_name} on the line between two, as they are, recalibrated, or with "
            f"weights or activations matched; up to {report.tolerance:g} is none"
        )
        parts += [Fitted(lambda width: _pairs(report, title, falls, width))]
    if alike or not falls:
        title_alike = "Pairs: how far apart they are, and how alike they compute" if len(report.pool) else "Pairs"
        parts += [Fitted(lambda width: _pairs(report, title_alike, alike, width))]
    if len(report.pool):
        table = together(report)
        parts += [_grid("All together", table.first, 0, [words for (words,) in table.rows], table.columns)]
    parts += [_advice(report)]
    parts += [Text.from_markup(f"[bold]•[/] {escape(sentence)}") for sentence in report.recommendation]
    if report.notes:
        parts += ["", *(part for note in report.notes for part in _note(note))]
    return Group(*parts)


def _note(note: str) -> Iterator[Text]:
    """Yield a note, and the lines of code in it as they are, so that they can be copied."""
    words, *code = note.split("\n")
    yield Text(f"Note: {words}", style="dim")
    for line in code:
        yield Text(line, no_wrap=True, overflow="ignore")


def _grid(title: str, first: str, least: int, names: list[str], columns: list[Column], coloured: bool = False) -> Grid:
    """Return a table of which only the first column gives way."""
    grid = Grid(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column(first, overflow="fold", min_width=least)
    for column in columns:
        width = max(map(len, [*column.head.split(), *column.cells]))
        grid.add_column(column.head, justify="right", min_width=width, max_width=width)
    for name, *cells in zip(names, *(_texts(column, coloured) for column in columns), strict=True):
        grid.add_row(escape(name), *cells)
    return grid


def _texts(column: Column, coloured: bool) -> list[Text]:
    """Return the numbers of a column, in green where they are no worse than the one without a colour, else in red."""
    if column.scale is None or not coloured:
        return [Text(text) for text in column.cells]
    worst, middle, best = column.scale
    styles = ["" if math.isnan(x) else "green" if (x - middle) * (best - worst) >= 0 else "red" for x in column.values]
    return [Text(text, style=style) for text, style in zip(column.cells, styles, strict=True)]


def _numbered(report: Any, width: int) -> bool:
    """Return whether numbers stand for members in pairs: where names are long for the width."""
    return max(len(str(name)) for name in report.members.index) > min(_LONG, width - _NUMBERS)


def _members(report: Any, width: int) -> Iterator[Grid]:
    table = members(report, brief=True)
    title = f"Members{f', on {report.n_rows} rows' if report.n_rows else ''}"
    if table.columns[-1].name == "score_recalibrated":
        title += f"; recal.: {report.score_name} with BatchNorm statistics recalibrated"
    numbered = _numbered(report, width)
    names = [f"{k + 1}: {name}" if numbered else name for k, (name,) in enumerate(table.rows)]
    least = min(_LONG, max(map(len, names)))
    for omitted in ((), ("norm",), ("norm", "n_parameters")):
        yield _grid(title, table.first, least, names, [c for c in table.columns if c.name not in omitted])


def _pairs(report: Any, title: str, columns: list[Column], width: int) -> Iterator[Grid]:
    numbers = {str(name): str(k + 1) for k, name in enumerate(report.members.index)}
    numbered, table = _numbered(report, width), pairs(report, brief=True)
    names = [" – ".join(numbers[n] if numbered else n for n in pair) for pair in table.rows]
    yield _grid(title, table.first, 0, names, columns, coloured=True)


def _advice(report: Any) -> Group:
    parts: list[Any] = [Text("What to do", style="italic"), ""]
    for way, row in report.advice.iterrows():
        verdict, price = row["verdict"], f" (networks: {row['networks']}; training: {row['training']})"
        parts.append(Text.assemble((str(way), "bold"), ": ", (verdict, _COLOURS[verdict]), (price, "dim")))
        parts.append(Padding(Text(row["why"]), (0, 0, 0, 4)))
    return Group(*parts, "")
