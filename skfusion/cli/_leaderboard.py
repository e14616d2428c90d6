"""The leaderboard of a comparison, on a terminal of any width."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

NONE = "–"
TIED, BASELINE = "≈", "○"
_BETWEEN = 3
"""Columns of the terminal between two columns of a table, which has one more at each end."""
CAN_WAIT = {"vs mean single", "p vs best", "fuse s", "parameters"}
"""Columns that come last where not all fit side by side."""


def ranked(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the rows from the best to the worst, with those that have no score at the end."""
    return table.sort_values(f"{score}_mean", ascending=False, kind="stable")


def shown(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the result of ``compare_fusions`` as text under headings, from the best fusion to the worst."""
    rows = ranked(table, score)
    columns = {score: with_spread(rows[f"{score}_mean"], rows[f"{score}_high"])}
    reference = table.attrs.get("reference")
    if "difference" in rows and len(rows) > 1:
        differences = with_spread(rows["difference"], rows["difference_high"], sign=True)
        columns[f"vs {reference or 'best'}"] = [
            NONE if name == reference else text for name, text in zip(rows.index, differences, strict=True)
        ]
    columns |= {other: with_spread(rows[f"{other}_mean"]) for other in table.attrs.get("scores", []) if other != score}
    columns |= {
        "vs best single": texts(rows["gain_over_best"], sign=True),
        "vs mean single": texts(rows["gain_over_mean"], sign=True),
    }
    if rows["log_loss"].notna().any():
        names = {"log loss": "log_loss", "Brier": "brier", "ECE": "ece"}
        columns |= {heading: texts(rows[name]) for heading, name in names.items() if name in rows}
    if "p_best" in rows:
        columns["p vs best"] = texts(rows["p_best"])
    columns |= {
        "train s": texts(rows["collect_seconds"], 2),
        "fuse s": texts(rows["fuse_seconds"], 2),
        "µs a row": texts(rows["predict_us_per_row"], 1),
        "parameters": texts(rows["n_parameters"], 0),
        "nets": texts(rows["n_members"].mask(rows.index.isin(table.attrs.get("baselines", []))), 0),
    }
    if "neg_log_loss" in table.attrs.get("scores", []):  # the same with the other sign
        columns.pop("log loss", None)
    if len(rows) == 1:
        columns.pop("p vs best", None)
    return pd.DataFrame(columns, index=rows.index.map(str))


def texts(values: Any, digits: int = 3, sign: bool = False) -> list[str]:
    """Return numbers with so many decimals."""
    shape = f"{'+' if sign else ''},.{digits}f"
    return [NONE if pd.isna(x) else format(x, shape).replace("-", "−") for x in values]


def with_spread(means: pd.Series, high: pd.Series | None = None, sign: bool = False) -> list[str]:
    """Return means, with half their intervals where ends are given, with as many decimals as tell them apart."""
    spread = means.abs() / 10 if high is None else high - means
    middle = float(spread[spread > 0].median())
    order = -1 if math.isnan(middle) else math.floor(math.log10(max(middle, 1e-9)))
    digits = min(6, max(3, 1 - order)) if order < 1 else max(0, 2 - order)
    if high is None:
        return texts(means, digits, sign)
    both = zip(texts(means, digits, sign), texts(spread, digits), strict=True)
    return [NONE if mean == NONE else f"{mean} ± {half}" for mean, half in both]


def marks(table: pd.DataFrame, score: str, baselines: Collection[str]) -> list[str]:
    """Return what marks the rows of :func:`shown`: those of baselines, and those not told apart from the best."""
    rows = ranked(table, score)
    tied = rows["tied_with_best"].fillna(False) if "tied_with_best" in rows else [False] * len(rows)
    both = zip(rows.index, tied, strict=True)
    return [BASELINE * (name in baselines) + TIED * bool(is_tied and k > 0) for k, (name, is_tied) in enumerate(both)]


def legend(marked: Sequence[str], score: str) -> list[str]:
    """Return one line on each mark that occurs."""
    lines = {
        TIED: f"not told apart from the best by {score}: corrected resampled t-test over the folds, Holm, 5 %",
        BASELINE: "baseline, which fusions have to beat",
    }
    return [f"{mark} {says}." for mark, says in lines.items() if mark in "".join(marked)]


def show(console: Console, title: str, table: Any, score: str, baselines: Collection[str] = ()) -> None:
    """Print the table of ``compare_fusions`` by its score, with the best fusion in bold and marks explained below.

    Columns that do not fit beside the others follow in a table below.
    """
    rows, marked = shown(table, score), marks(table, score, baselines)
    width, mark_width = name_width([*rows.index], console.width), max(map(len, marked))
    start = width + (mark_width + _BETWEEN if mark_width else 0)
    for k, widths in enumerate(fitting(start, rows.to_dict("list"), console.width)):
        grid = Table(title=None if k else escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        grid.add_column("fusion", width=width, overflow="fold")
        if mark_width:
            grid.add_column("", width=mark_width)
        for heading, wide in widths.items():
            grid.add_column(escape(breakable(heading, wide)), justify="right", width=wide, overflow="fold")
        for n, (mark, (name, *cells)) in enumerate(zip(marked, rows[[*widths]].itertuples(name=None), strict=True)):
            style = "bold" if n == 0 else "dim" if BASELINE in mark else None
            grid.add_row(escape(name), *([mark] if mark_width else []), *cells, style=style)
        console.print(grid)
    for line in legend(marked, score):
        console.print(line, highlight=False, markup=False)


def name_width(names: Sequence[str], width: int) -> int:
    """Return the width of the names, of which those longer than a quarter of the terminal are broken, between words."""
    words = max(len(word) for name in names for word in name.split())
    return min(max(map(len, ("fusion", *names))), max(min(words, width // 3), width // 4))


def words_of(heading: str) -> list[str]:
    """Return the parts that a heading can be broken into: words, and what underscores separate."""
    return heading.replace("_", "_ ").split()


def breakable(heading: str, width: int) -> str:
    """Return a heading broken into lines, where it is wider than its column."""
    if len(heading) <= width or "_" not in heading:
        return heading
    lines = [""]
    for word in words_of(heading):
        glue = "" if lines[-1].endswith("_") or not lines[-1] else " "
        if len(lines[-1]) + len(glue) + len(word) <= width:
            lines[-1] += glue + word
        else:
            lines.append(word)
    return "\n".join(line for line in lines if line)


def fitting(name: int, cells: Mapping[str, Sequence[str]], width: int) -> list[dict[str, int]]:
    """Return the widths of columns by their headings, for as many tables as the width of a terminal needs.

    ``cells`` are the columns by their headings, and ``name`` is the width of the names of the rows of each table. Where
    they do not fit into one table, headings are broken between words, and what can wait comes last.
    """
    start = name + 2
    whole = {heading: max(map(len, (heading, *column))) for heading, column in cells.items()}
    broken = {heading: max(map(len, (*words_of(heading), *column))) for heading, column in cells.items()}
    for widths in (whole, broken):
        if start + sum(_BETWEEN + w for w in widths.values()) <= width:
            return [widths]
    tables: list[dict[str, int]] = []
    for waits in (False, True):
        room = 0
        for heading in (h for h in cells if (h in CAN_WAIT) == waits):
            if (room := room - _BETWEEN - broken[heading]) < 0:
                tables.append({})
                room = width - start - _BETWEEN - broken[heading]
            tables[-1][heading] = broken[heading]
    return tables
