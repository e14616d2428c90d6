"""How far a comparison is: the fusion that is running, and the time that is left by how long each took before."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from skfusion._progress import Bar, PaceByName


class ComparisonBar:
    """Show a comparison as one bar, also as the ``callback`` of :func:`compare_fusions`, which then tells it more.

    Parameters
    ----------
    bar : Bar
        What shows it, which is started and stopped elsewhere.
    """

    def __init__(self, bar: Bar) -> None:
        self.bar = bar

    def start(self, names: Iterable[str], n_folds: int, in_turn: bool) -> None:
        """Show that fusions are compared on so many folds, in turn or some folds at a time."""
        self.names = [*names]
        self.n_folds, self.in_turn, self.n_done = n_folds, in_turn, 0
        self.pace = PaceByName(self.names, n_folds)
        self.show("Comparing")

    def begin(self, name: str, fold: int) -> None:
        """Show that a fusion begins with a fold."""
        self.pace.begin(name, time.monotonic())
        self.show(f"fold {fold + 1} of {self.n_folds}, {name}")

    def __call__(self, name: str, fold: int) -> None:
        """Take note that a fusion is done with a fold."""
        self.n_done += 1
        self.pace.end(name, time.monotonic())
        if not self.in_turn:
            self.show(f"fold {fold + 1} of {self.n_folds} is done")

    def show(self, what: str) -> None:
        """Show how far it is; folds that run at a time end at a pace of their own."""
        left: Any = self.pace.left if self.in_turn else None
        self.bar.update(what, self.n_done, len(self.names) * self.n_folds, left=left)
