"""What was measured of a pool, as advice is drawn from it, and how numbers are put into words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from skfusion.diagnose.judge._recipes import Recipes
from skfusion.diagnose.measure._lines import ALIGNED


class Basin(NamedTuple):
    """Members that stand in one basin of the score.

    Parameters
    ----------
    members : tuple of str
        Names. Each is joined to another one by a line on which the score does not fall by more than the tolerance.
    soup : float
        Score of their mean, BatchNorm statistics recalibrated; of a single one its own.
    best : float
        Score of the best of them.
    rows : ndarray of shape (n_rows,) or None
        What each row adds to the score of their mean, where it is a mean over rows.
    """

    members: tuple[str, ...]
    soup: float
    best: float
    rows: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Facts:
    """What was measured.

    Parameters
    ----------
    members, pairs : DataFrame
        As in the report.
    pool : Series
        Scores, as in the report.
    basins : list of Basin
        The members by basins; empty without data.
    unlike : str
        How two members differ that cannot be averaged, as a clause; nothing where all can be.
    no_frame : str
        Why units cannot be matched; nothing where they can be.
    tolerance : float
        A fall of the score up to this counts as none.
    score_name : str
        What the score is.
    recipes : Recipes
        Writes code.
    batch_norm : bool
        Whether there is BatchNorm to recalibrate.
    statistics : Series
        How far apart the statistics of each pair are, as a share of their length; see ``statistics_apart``.
    rows : dict of ndarray of shape (n_rows,)
        What each row adds to the score of ``("members", name)``, ``("recalibrated", name)`` and ``("pool", key)``,
        where it is a mean over rows.
    n_rows, n_fit, n_seen : int
        Rows that were judged on, rows that statistics were estimated on, and how many of the former members were
        trained on.
    own_fit : bool
        Whether statistics were estimated on other rows than those that were judged on.
    """

    members: pd.DataFrame
    pairs: pd.DataFrame
    pool: pd.Series
    basins: list[Basin]
    unlike: str
    no_frame: str
    tolerance: float
    score_name: str
    recipes: Recipes
    batch_norm: bool
    statistics: pd.Series
    rows: dict[tuple[str, str], np.ndarray]
    n_rows: int
    n_fit: int
    n_seen: int
    own_fit: bool

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
    def alike(self) -> list[tuple[str, str]]:
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

    def best_frame(self) -> str | None:
        """Return the way to align that serves best: where it works, by its soup; else by its largest fall."""
        if not self.has_data or self.no_frame or self.unlike:
            return None
        at_work = [how for how in ALIGNED if self.works(how)]
        if at_work:
            return max(at_work, key=lambda how: self.pool[key_of(how)])
        return min(ALIGNED, key=self.fall)


def key_of(how: str) -> str:
    """Return under which name the soup of a way to average stands among the scores of the pool."""
    return "soup" if how == "line" else f"soup_{how}"


def words_for(how: str) -> str:
    """Return a way to align in words, as in "with units matched by weights and Repair"."""
    return f"with units matched by {how.removesuffix('_repair')}{' and Repair' if how.endswith('_repair') else ''}"


def every(f: Facts) -> str:
    """Return all members in words."""
    return "both" if len(f.members) == 2 else f"all {len(f.members)}"


def told(x: float) -> str:
    """Return a number for a sentence."""
    x = float(x)  # numpy rounds in another way
    if math.isnan(x):
        return "unknown"
    return f"{round(x, 3) + 0.0:.3f}" if abs(x) < 1000 else f"{x:.3g}"


def span(values: Iterable[float]) -> str:
    """Return the range of numbers for a sentence."""
    low, high = (told(f(values)) for f in (min, max))
    return low if low == high else f"{low} to {high}"


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence."""
    quoted = [repr(n) for n in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
