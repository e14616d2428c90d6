"""The leaderboard of a report: a table in which each difference is drawn with its interval."""

from __future__ import annotations

import math
from collections.abc import Collection
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from skfusion.cli._leaderboard import BASELINE, NONE, TIED, marks, ranked, texts, with_spread


def board(table: pd.DataFrame, score: str, baselines: Collection[str], best: str) -> str:
    """Return the rows of ``compare_fusions`` from the best to the worst as an HTML table, the best fusion marked."""
    rows, reference = ranked(table, score), table.attrs.get("reference")
    scores = with_spread(rows[f"{score}_mean"], rows[f"{score}_high"])
    drawn = bars(rows, reference)
    columns = {score: scores}
    if rows["log_loss"].notna().any():
        columns["log-loss"] = texts(rows["log_loss"])
    columns |= {
        "train s": texts(rows["collect_seconds"] + rows["fuse_seconds"], 1),
        "µs a row": texts(rows["predict_us_per_row"], 1),
        "nets": texts(rows["n_members"].mask(rows.index.isin([*baselines])), 0),
    }
    heads = ["fusion", *([f"vs {reference}"] if drawn else []), *columns]
    marked = marks(table, score, baselines)
    body = []
    for i, name in enumerate(rows.index):
        kind = " ".join(["best"] * (name == best) + ["base"] * (name in baselines))
        cells = [f'<th scope="row">{escape(str(name))}{_mark(marked[i])}</th>']
        cells += [f"<td>{drawn[i]}</td>"] if drawn else []
        cells += [f"<td>{escape(cells_of[i])}</td>" for cells_of in columns.values()]
        body.append(f'<tr class="{kind}">{"".join(cells)}</tr>\n')
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in heads)
    return f'<table class="board"><thead><tr>{head}</tr></thead>\n<tbody>\n{"".join(body)}</tbody></table>'


def _mark(mark: str) -> str:
    """Return the marks of a row, which the legend below the table explains."""
    return "".join(f' <span class="mark">{sign}</span>' for sign in (BASELINE, TIED) if sign in mark)


def bars(rows: pd.DataFrame, reference: str | None) -> list[str]:
    """Return a drawing of the difference of each row to the reference, on one scale; none where there are no intervals.

    A row that is far worse than the others is an arrow at the edge.
    """
    if "difference" not in rows or len(rows) < 2 or not np.isfinite(rows["difference_high"]).any():
        return []
    mean, low, high = (rows[column].to_numpy(float) for column in ("difference", "difference_low", "difference_high"))
    right = max(0.0, float(np.nanmax(high)))
    usual = max(right, float(np.nanmedian(high - mean)))
    near = np.isfinite(mean) & (mean >= -2 * usual)
    left = min(0.0, float(np.nanmin(np.where(near, low, np.nan)))) if near.any() else -usual
    left = max(left, -3 * usual)
    span = (right - left) or 1.0
    return [
        _bar(name == reference, *values, left, span) for name, *values in zip(rows.index, mean, low, high, strict=True)
    ]


def _bar(is_reference: bool, mean: float, low: float, high: float, left: float, span: float) -> str:
    """Return the drawing of one difference, and its number."""

    def at(x: float) -> str:
        return f"{100 * min(max((x - left) / span, 0.0), 1.0):.2f}%"

    zero = f'<i class="zero" style="left:{at(0)}"></i>'
    if is_reference:
        return f'<span class="plot">{zero}<i class="dot" style="left:{at(0)}"></i></span><b>reference</b>'
    number = texts([mean], sign=True)[0]
    if math.isnan(mean):
        return f'<span class="plot">{zero}</span><b>{NONE}</b>'
    kind = "up" if low > 0 else "down" if high < 0 else "tie"
    if mean < left:
        return f'<span class="plot {kind}">{zero}<i class="far">◂</i></span><b>{number}</b>'
    half = "" if math.isnan(high) else f" ± {texts([high - mean])[0]}"
    low, high = (mean if math.isnan(end) else end for end in (low, high))
    width = f"calc({at(high)} - {at(low)})"
    line = f'<i class="line" style="left:{at(low)};width:{width}"></i><i class="dot" style="left:{at(mean)}"></i>'
    return f'<span class="plot {kind}">{zero}{line}</span><b>{number}<small>{half}</small></b>'


def whole(shown: pd.DataFrame, marked: list[str], best: str) -> str:
    """Return all columns of the leaderboard, as text, as an HTML table."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in ["fusion", *shown])
    body = "".join(
        f"<tr{' class=best' if name == best else ''}><th>{escape(f'{name} {mark}'.rstrip())}</th>"
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
        for mark, (name, *cells) in zip(marked, _tuples(shown), strict=True)
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"


def _tuples(frame: pd.DataFrame) -> Any:
    return frame.itertuples(name=None)
