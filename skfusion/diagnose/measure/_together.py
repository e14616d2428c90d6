"""What members of a pool give together: soups of all, soups of basins, and averaged predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from skfusion.combine import Average
from skfusion.diagnose.measure._facts import Basin, key_of
from skfusion.diagnose.measure._families import Family
from skfusion.diagnose.measure._lines import Frame, soups_of
from skfusion.evaluate import WAYS
from skfusion.pool import ModelPool


def basins_of(pool: ModelPool, found: list[Family], pairs: pd.DataFrame, tolerance: float) -> list[Basin]:
    """Return the members that lines without a fall join, in the order of the pool."""
    out: list[tuple[int, Basin]] = []
    for family in found:
        left = [*range(len(family.index))]
        names = [pool.names[k] for k in family.index]
        while left:
            basin = [left.pop(0)]
            for i in basin:  # which grows meanwhile
                joined = [j for j in left if _fall(pairs, names[i], names[j]) <= tolerance]
                basin += joined
                left = [j for j in left if j not in joined]
            basin.sort()
            best = float(family.score[basin].max())
            soup, rows = best, None
            if 1 < len(basin) < len(pool):
                states = [family.data.states[i] for i in basin]
                _, soup, rows = soups_of(states, family.data, None, 0, family.by_row)["line"]
            out.append((family.index[basin[0]], Basin(tuple(names[i] for i in basin), soup, best, rows)))
    return [basin for _, basin in sorted(out, key=lambda item: item[0])]


def _fall(pairs: pd.DataFrame, a: str, b: str) -> float:
    pair = (a, b) if (a, b) in pairs.index else (b, a)
    return float(pairs["fall_line"][pair]) if pair in pairs.index else math.inf  # it was not looked at


def _recalibrated(family: Family) -> Iterator[tuple[int, np.ndarray | None]]:
    yield from zip(family.index, family.rows_recalibrated, strict=True)


def scores_of(
    pool: ModelPool, members: pd.DataFrame, found: list[Family], frames: list[Frame], random_state: int
) -> tuple[pd.Series, dict[tuple[str, str], np.ndarray]]:
    """Return the scores of what the pool gives as a whole, and what each row adds to these and to the members'."""
    if not found:
        return pd.Series(dtype=float, name="score"), {}
    rows = {("members", pool.names[k]): own for f in found for k, own in zip(f.index, f.rows, strict=True)}
    rows |= {("recalibrated", pool.names[k]): own for f in found for k, own in _recalibrated(f)}
    scores = {"best_member": members["score"].max(), "mean_member": members["score"].mean()}
    first = found[0]
    if len(found) == 1:
        soups = soups_of(first.data.states, first.data, frames[0][0], random_state, first.by_row)
        scores |= {key_of(how): soups[how].score if how in soups else math.nan for how in WAYS}
        rows |= {("pool", key_of(how)): soup.rows for how, soup in soups.items()}
    P = Average()(np.concatenate([family.predictions for family in found]))
    scores["ensemble"] = first.data.score(P, first.data.rows)
    rows["pool", "ensemble"] = None if first.by_row is None else first.by_row(P, first.data.rows)
    known = {key: own for key, own in rows.items() if own is not None}
    return pd.Series(scores, dtype=float, name="score"), known
