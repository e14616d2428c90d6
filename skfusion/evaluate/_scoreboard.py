"""Tables of scores as notebooks show them: each score with its interval, and what decides beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from skfusion._html import NONE, number, page, text

MOST_ROWS, MOST_ERRORS = 40, 5
_BESIDE = {
    "tied_with_best": "tied",
    "n_members": "networks",
    "seconds": "seconds of a fit",
    "predict_us_per_row": "µs a row",
    "n_seen": "rows seen",
}
"""Columns that stand beside the scores, with their names."""


class Scoreboard(pd.DataFrame):
    """A DataFrame with a row for each thing that was scored, which notebooks show with intervals.

    It is a DataFrame in all else. What is made of it and has no columns ``<score>_mean``, ``<score>_low`` and
    ``<score>_high`` any more, or whose rows have no common name, is shown as pandas shows it.
    """

    @property
    def _constructor(self) -> Any:
        return Scoreboard

    def _repr_html_(self) -> str | None:
        names = [column.removesuffix("_mean") for column in map(str, self.columns) if column.endswith("_mean")]
        scores = [s for s in names if {f"{s}_low", f"{s}_high"} <= {*map(str, self.columns)}]
        whole = self.index.name is not None and self.columns.is_unique  # not numbered rows, or those of describe()
        if not whole or not scores or not len(self) or not pd.get_option("display.notebook_repr_html"):
            return super()._repr_html_()
        return page(_parts(self, scores))


def _parts(table: pd.DataFrame, scores: list[str]) -> list[str]:
    """Return the table with its notes."""
    shown, beside = table.head(MOST_ROWS), _beside(table)
    first = [*_numbers(table, f"{scores[0]}_low"), *_numbers(table, f"{scores[0]}_high")]
    known = [x for x in [*first, *_numbers(table, f"{scores[0]}_mean")] if math.isfinite(x)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    heads = [f"<th>{text(table.index.name or '')}</th>", *(f"<th>{text(score)}</th>" for score in scores)]
    heads += ["<th>difference</th>"] * ("difference" in table)
    heads += [f'<th class="n wide">{_BESIDE[name]}</th>' for name in beside]
    columns = [
        *([_interval(shown, s, low, high if s == scores[0] else low) for s in scores]),
        *([_interval(shown, "difference")] if "difference" in table else []),
        *(_cells(shown, beside[name]) for name in beside),
    ]
    others = {*table.attrs.get("baselines", ())}
    firsts = [_name(name, name in others) for name in shown.index]
    rows = "".join(f"<tr>{''.join(cells)}</tr>" for cells in zip(firsts, *columns, strict=True))
    notes = "".join(f'<div class="more">{note}</div>' for note in _notes(table, scores[0], low, high))
    return [f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>{rows}</tbody></table>", notes]


def _name(name: Any, is_baseline: bool) -> str:
    return f'<td class="name">{text(name)}{" <span class=more>baseline</span>" if is_baseline else ""}</td>'


def _numbers(table: pd.DataFrame, column: str) -> list[float]:
    return [float(x) for x in pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)]


def _interval(table: pd.DataFrame, score: str, low: float = 0.0, high: float = 0.0) -> list[str]:
    """Return the cells of a score with its interval, drawn where there is a range to draw it in."""
    means = _numbers(table, score if score == "difference" else f"{score}_mean")
    ends = zip(_numbers(table, f"{score}_low"), _numbers(table, f"{score}_high"), strict=True)
    cells = []
    for mean, (begin, end) in zip(means, ends, strict=True):
        words = _short(mean)
        if math.isfinite(begin) and math.isfinite(end) and (begin, end) != (mean, mean):
            words += f' <span class="more">{_short(begin)} to {_short(end)}</span>'
        drawn = _drawn(mean, begin, end, low, high) if low < high else ""
        cells.append(f'<td style="white-space:nowrap">{words}{drawn}</td>')
    return cells


def _drawn(mean: float, begin: float, end: float, low: float, high: float) -> str:
    def place(x: float) -> str:
        return f"{100 * (x - low) / (high - low):.1f}%"

    if not math.isfinite(mean):
        return '<span class="iv"></span>'
    line = ""
    if math.isfinite(begin) and math.isfinite(end):
        line = f'<i style="left:{place(begin)};right:{100 * (high - end) / (high - low):.1f}%"></i>'
    return f'<span class="iv">{line}<b style="left:{place(mean)}"></b></span>'


def _short(x: float) -> str:
    return NONE if math.isnan(x) else f"{x:.3f}".replace("-", "−") if 1e-3 <= abs(x) < 1e4 or x == 0 else number(x)


def _beside(table: pd.DataFrame) -> dict[str, Any]:
    """Return the columns that stand beside the scores."""
    columns = {name: table[name] for name in _BESIDE if name in table}
    if {"collect_seconds", "fuse_seconds"} <= {*table.columns}:
        columns["seconds"] = table["collect_seconds"] + table["fuse_seconds"]
    return {name: columns[name] for name in _BESIDE if name in columns}


def _cells(shown: pd.DataFrame, values: Any) -> list[str]:
    return [f'<td class="n wide">{_word(value)}</td>' for value in values.iloc[: len(shown)]]


def _word(value: Any) -> str:
    if pd.isna(value):
        return NONE
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | np.integer) else number(float(value))


def _notes(table: pd.DataFrame, score: str, low: float, high: float) -> list[str]:
    """Return what is to be said of the table, as HTML."""
    notes = [f"and {len(table) - MOST_ROWS:,} more"] if len(table) > MOST_ROWS else []
    if low < high:
        notes.append(f"95 % intervals of {text(score)}, drawn from {_short(low)} to {_short(high)}")
    if "difference" in table and table.attrs.get("reference") is not None:
        notes.append(f"differences are from {text(table.attrs['reference'])}")
    if "tied_with_best" in table:
        notes.append("tied: the scores do not tell it from the best")
    if n_absent := sum(not math.isfinite(x) for x in _numbers(table, f"{score}_mean")):
        notes.append(f"{n_absent:,} {'has' if n_absent == 1 else 'have'} no finite {text(score)}")
    folds = table.attrs.get("folds")
    if isinstance(folds, pd.DataFrame) and {"fusion", "error"} <= {*folds.columns}:
        failed = folds[folds["error"] != ""].drop_duplicates("fusion")
        notes += [
            f"{text(name)}: {text(error)}"
            for name, error in failed[["fusion", "error"]].head(MOST_ERRORS).itertuples(index=False)
        ]
        if len(failed) > MOST_ERRORS:
            notes.append(f"and {len(failed) - MOST_ERRORS:,} more with errors")
    if len(table.columns) > 8:
        notes.append(f"the table has {len(table.columns)} columns, which .T shows as rows")
    return notes
