"""What was measured of a pool, as advice is drawn from it: what can predict, by its score, and how two compare."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from skfusion.diagnose._words import listed, number
from skfusion.diagnose.judge._recipes import Recipes
from skfusion.diagnose.measure._lines import ALIGNED, key_of
from skfusion.diagnose.measure._paired import doubt
from skfusion.diagnose.measure._tables import Basin

ALONE = "recalibrated"


@dataclass(frozen=True, eq=False)
class Facts:
    """What was measured: tables as in the report, and more."""

    members: pd.DataFrame
    pairs: pd.DataFrame
    pool: pd.Series
    basins: list[Basin]  # empty without data
    differ: str  # how two members differ that cannot be averaged, as a clause; empty where all can be
    unmatched: str  # why units cannot be matched; empty where they can be
    tolerance: float  # a fall of the score up to this counts as none
    score_name: str
    recipes: Recipes
    statistics: pd.Series  # how far apart the statistics of each pair are, as a share of their length
    rows: dict[tuple[str, str], np.ndarray | None]  # what each row adds to a score, where that is a mean over rows: by
    # ("members" or "recalibrated", name) and ("pool", key)
    n_rows: int
    n_fit: int  # rows that statistics were estimated on
    n_seen: int  # rows that were judged on and that members were trained on
    has_fit_rows: bool  # whether statistics were estimated on other rows than those that were judged on

    @property
    def has_data(self) -> bool:
        """Whether there were rows to judge on."""
        return "ensemble" in self.pool

    @property
    def best(self) -> str:
        """Name of the member with the highest score."""
        return str(self.members["score"].idxmax())

    @property
    def top(self) -> float:
        """The highest score of a member."""
        return float(self.pool["best_member"])

    @property
    def averageable(self) -> list[tuple[str, str]]:
        """Pairs of one architecture and the same columns, so that there is a line between them."""
        return [*self.pairs.index[self.pairs["reason"] == ""]]

    @property
    def is_equal(self) -> bool:
        """Whether all members are one network, up to rounding."""
        return bool((self.apart <= 1e-6).all())

    @property
    def apart(self) -> pd.Series:
        """Distance of each pair, as a share of the longer one's norm: of weights or statistics, whichever is more."""
        return np.maximum(self.weights_apart, self.statistics)

    @property
    def weights_apart(self) -> pd.Series:
        """Distance of the weights of each pair, as a share of the longer one's norm."""
        norm = self.members["norm"]
        return self.pairs["distance"] / [max(norm[a], norm[b]) or 1.0 for a, b in self.pairs.index]

    @property
    def good_basins(self) -> list[Basin]:
        """Basins of several members, but not of all, with a soup that is no worse than the best of them."""
        several = [b for b in self.basins if 1 < len(b.members) < len(self.members)]
        return [b for b in several if b.soup >= b.best - self.tolerance]

    def fall(self, how: str) -> float:
        """Return the largest fall of the score on a line between two members, by a way to average."""
        return float(self.pairs[f"fall_{how}"].max(skipna=False))

    def is_flat(self, how: str) -> bool:
        """Return whether the score falls on no line between members."""
        return self.fall(how) <= self.tolerance

    def works(self, how: str) -> bool:
        """Return whether no line between members falls, and their soup is no worse than the best of them."""
        return self.is_flat(how) and self.pool[key_of(how)] >= self.top - self.tolerance

    def best_alignment(self) -> str | None:
        """Return the way to align that serves best: where it works, by its soup; else by its largest fall."""
        if not self.has_data or self.unmatched or self.differ:
            return None
        working = [how for how in ALIGNED if self.works(how)]
        if working:
            return max(working, key=lambda how: self.pool[key_of(how)])
        return min(ALIGNED, key=self.fall)


def words_for(how: str) -> str:
    """Return a way to align in words, as in "with units matched by weights and Repair"."""
    return f"with units matched by {how.removesuffix('_repair')}{' and Repair' if how.endswith('_repair') else ''}"


def every(f: Facts) -> str:
    """Return all members in words."""
    return "both" if len(f.members) == 2 else f"all {len(f.members)}"


class Option(NamedTuple):
    """Something that predicts."""

    words: str  # what it is, for a sentence
    score: float
    rows: np.ndarray | None  # what each row adds to the score, where it is a mean over rows
    how: str = ""  # of a soup, the way to average; ALONE for a member with recalibrated statistics
    members: tuple[str, ...] | None = None  # of a soup of some members, which ones; of such a member, its name


def best_member(f: Facts) -> Option:
    """Return the member of the highest score."""
    return Option(repr(f.best), f.top, f.rows.get(("members", f.best)))


def averaged(f: Facts) -> Option:
    """Return the averaged predictions of all members."""
    return of_pool(f, "ensemble", "the averaged predictions")


def of_pool(f: Facts, key: str, words: str, how: str = "") -> Option:
    """Return what all members give together, which ``f.pool`` has under ``key``."""
    return Option(words, float(f.pool[key]), f.rows.get(("pool", key)), how)


def best_network(f: Facts) -> Option:
    """Return the one network of the highest score; the best member where none is better."""
    options = [best_member(f)]
    if "soup" in f.pool:
        options.append(of_pool(f, key_of("line"), "the uniform soup", "line"))
        if (how := f.best_alignment()) is not None:
            options.append(of_pool(f, key_of(how), f"the uniform soup {words_for(how)}", how))
    for basin in f.good_basins:
        words = f"the soup of {listed(basin.members)}"
        options.append(Option(words, basin.soup, basin.rows, "line", basin.members))
    options += [after for _, after in lagging(f)]
    return max(options, key=lambda option: option.score)


def recalibrated(f: Facts) -> Iterator[tuple[Option, Option]]:
    """Yield each member as it is and with recalibrated statistics; nothing without BatchNorm or data."""
    for name, row in f.members.iterrows() if f.has_data and f.recipes.batch_norm else ():
        words, rows = f"{name!r} with recalibrated statistics", f.rows.get(("recalibrated", name))
        after = Option(words, float(row["score_recalibrated"]), rows, ALONE, (str(name),))
        yield Option(repr(name), float(row["score"]), f.rows.get(("members", name))), after


def lagging(f: Facts) -> list[tuple[Option, Option]]:
    """Return the members of :func:`recalibrated` that gain by it."""
    return [(before, after) for before, after in recalibrated(f) if is_beyond(f, after, before)]


def is_beyond(f: Facts, one: Option, other: Option) -> bool:
    """Return whether the score of one is higher, by more than the tolerance and by more than chance."""
    margin = doubt(one.rows, other.rows, f.tolerance)
    return math.isfinite(one.score) and one.score - other.score > max(f.tolerance, margin)


def in_doubt(f: Facts, one: Option, other: Option) -> str:
    """Return why two may be equally good, as a sentence after another one; nothing where they differ.

    They do by more than chance or, by other scores than means over rows, by more than the tolerance.
    """
    margin = doubt(one.rows, other.rows, f.tolerance)
    if abs(one.score - other.score) > margin:
        return ""
    if one.rows is None or other.rows is None:
        return f" They are within the tolerance, {f.tolerance:.3g}."
    return f" On {f.n_rows} rows, they are not told apart: two standard errors of the difference are {number(margin)}."
