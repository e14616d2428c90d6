"""What was measured of a pool, as advice is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skfusion.diagnose.judge._recipes import Recipes
from skfusion.diagnose.measure._lines import ALIGNED, key_of
from skfusion.diagnose.measure._tables import Basin


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
    rows: dict[tuple[str, str], np.ndarray]  # by ("members" or "recalibrated", name) and ("pool", key): what each row
    # adds to a score, where that is a mean over rows
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
