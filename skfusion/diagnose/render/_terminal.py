"""The report as tables of rich."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from skfusion.evaluate import WAYS

if TYPE_CHECKING:
    from skfusion.diagnose._report import FusionReport

_COLOURS = {"yes": "bold green", "no": "dim", "maybe": "yellow"}
_HEADS = {
    "distance": "dist.",
    "cosine": "cosine",
    "sign_conflict": "sign conflict",
    "fall_raw": "as is",
    "fall_line": "recal.",
    "fall_weights": "weights",
    "fall_activations": "activ.",
    "midpoint_line": "middle",
    "agreement": "agree",
    "cka_mean": "CKA mean",
    "cka_last": "CKA last",
}
NONE = "–"
_LONG = 20
"""Longer names are told by numbers, or folded."""
_NUMBERS = 53
"""About the width of the numbers of a pair."""


def number(x: float, digits: int = 3) -> str:
    """Return a number for a table; a dash where there is none."""
    x = float(x)  # numpy rounds in another way
    if math.isnan(x):
        return NONE
    return f"{round(x, digits) + 0.0:,.{digits}f}".replace("-", "−") if abs(x) < 1e5 else f"{x:.3g}"


class Fitted:
    """A table that is made for the width that it gets.

    Parameters
    ----------
    make : callable
        ``make(width)`` yields tables, the fullest first; the last one is shown where none fits.
    """

    def __init__(self, make: Callable[[int], Iterator[Table]]):
        self.make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield the first table that fits."""
        for table in self.make(options.max_width):
            if Measurement.get(console, options.update(max_width=1000), table).minimum <= options.max_width:
                break
        yield table


def tables(report: FusionReport) -> Group:
    """Return the report as something that rich prints."""
    parts: list[Any] = [Fitted(lambda width: _members(report, width))]
    shown = [name for name in pair_columns(report) if not name.endswith("_repair")]
    falls = [name for name in shown if name.startswith(("fall_", "midpoint_"))]
    alike = [name for name in shown if name not in falls]
    if falls:
        title = (
            f"Pairs: fall of the {report.score_name} on the line between two, as they are, recalibrated, or with "
            f"weights or activations matched; up to {report.tolerance:g} is none"
        )
        parts += [Fitted(lambda width: iter([_pairs(report, title, falls, width)]))]
    if alike or not falls:
        title_alike = "Pairs: how far apart they are, and how alike they compute" if len(report.pool) else "Pairs"
        parts += [Fitted(lambda width: iter([_pairs(report, title_alike, alike, width)]))]
    if len(report.pool):
        parts += [_pool(report)]
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


def _grid(title: str, first: str, least: int, columns: dict[str, list[Text]]) -> Table:
    """Return a table without rows, of which only the first column gives way."""
    grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column(first, overflow="fold", min_width=least)
    for name, cells in columns.items():
        width = max([*map(len, name.split()), *map(len, cells)])
        grid.add_column(name, justify="right", min_width=width, max_width=width)
    return grid


def _numbered(report: FusionReport, width: int) -> bool:
    """Return whether pairs are told by numbers: where names are long for the width."""
    return max(len(str(name)) for name in report.members.index) > min(_LONG, width - _NUMBERS)


def _members(report: FusionReport, width: int) -> Iterator[Table]:
    shown = {"parameters": lambda r: f"{int(r['n_parameters']):,}", "norm": lambda r: number(r["norm"], 2)}
    table = report.members
    if len(report.pool):
        shown |= {report.loss_name: lambda r: number(r["loss"]), report.score_name: lambda r: number(r["score"])}
        if not table["score_recalibrated"].equals(table["score"].rename("score_recalibrated")):
            shown |= {"recal.": lambda r: number(r["score_recalibrated"])}
    title = f"Members{f', on {report.n_rows} rows' if report.n_rows else ''}"
    if "recal." in shown:
        title += f"; recal.: {report.score_name} with BatchNorm statistics recalibrated"
    names = [f"{k + 1}: {name}" if _numbered(report, width) else str(name) for k, name in enumerate(table.index)]
    for gone in ((), ("norm",), ("norm", "parameters")):
        cells = {
            head: [Text(show(row)) for _, row in table.iterrows()] for head, show in shown.items() if head not in gone
        }
        grid = _grid(title, "member", min(_LONG, max(map(len, names))), cells)
        for k, name in enumerate(names):
            grid.add_row(escape(name), *(column[k] for column in cells.values()))
        yield grid


def pair_columns(report: FusionReport) -> list[str]:
    """Return which columns of the pairs to show: those that hold a number, each way to average once."""
    wanted = ["distance", "cosine", "sign_conflict", *(f"fall_{how}" for how in WAYS)]
    wanted += ["midpoint_line", "agreement", "cka_mean", "cka_last"]
    table = report.pairs
    found = [name for name in wanted if name in table and table[name].notna().any()]
    twins = {"fall_line": "fall_raw"} | {f"{name}_repair": name for name in ("fall_weights", "fall_activations")}
    return [name for name in found if twins.get(name) not in found or not table[name].equals(table[twins[name]])]


def _pairs(report: FusionReport, title: str, shown: list[str], width: int) -> Table:
    found: dict[str, list[Text]] = {}
    for name in shown:  # of recalibration and Repair, the better one
        both = report.pairs[[c for c in (name, f"{name}_repair") if c in report.pairs]].astype(float).min(axis=1)
        found[_HEADS[name]] = [_coloured(name, x, report.tolerance) for x in both]
    numbers = {str(name): str(k + 1) for k, name in enumerate(report.members.index)}
    numbered = _numbered(report, width)
    pairs = [" – ".join(numbers[n] if numbered else n for n in pair) for pair in report.pairs.index]
    grid = _grid(title, "pair", 0, found)
    for k, pair in enumerate(pairs):
        grid.add_row(escape(pair), *(cells[k] for cells in found.values()))
    return grid


def _coloured(column: str, x: float, tolerance: float) -> Text:
    style = ""
    if column.startswith("fall_") and not math.isnan(x):
        style = "green" if x <= tolerance else "red"
    return Text(number(x), style=style)


def pool_rows(report: FusionReport) -> list[tuple[str, float]]:
    """Return the scores of the pool with words for them, each way once."""
    pool = report.pool
    found = [("best member", pool["best_member"]), ("mean of the members", pool["mean_member"])]
    for how, words in WAYS.items():
        key = "soup" if how == "line" else f"soup_{how}"
        twin = {"raw": "soup", "weights_repair": "soup_weights", "activations_repair": "soup_activations"}.get(how)
        if key not in pool or math.isnan(pool[key]) or (twin and pool[key] == pool[twin]):
            continue
        plain = how == "line" and pool["soup"] == pool.get("soup_raw")
        found.append((f"uniform soup, {WAYS['raw'] if plain else words}", pool[key]))
    return [*found, ("averaged predictions", pool["ensemble"])]


def _pool(report: FusionReport) -> Table:
    rows = [(words, Text(number(score))) for words, score in pool_rows(report)]
    grid = _grid("All together", "what", 0, {report.score_name: [cell for _, cell in rows]})
    for row in rows:
        grid.add_row(*row)
    return grid


def _advice(report: FusionReport) -> Group:
    parts: list[Any] = [Text("What to do", style="italic"), ""]
    for way, row in report.advice.iterrows():
        price = f" (networks: {row['networks']}; training: {row['training']})"
        parts.append(
            Text.assemble((str(way), "bold"), ": ", (row["verdict"], _COLOURS[row["verdict"]]), (price, "dim"))
        )
        parts.append(Padding(Text(row["why"]), (0, 0, 0, 4)))
    return Group(*parts, "")
