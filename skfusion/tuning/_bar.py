"""How far a search is: the trial that is running, with its values, and its folds."""

from __future__ import annotations

from typing import Any, Self

from skfusion._progress import Bar
from skfusion.estimators.support import asks_for_bar

_LONGEST = 60
"""Characters that are shown of the values of a trial."""


class SearchBar:
    """Show the trials of a search as one bar, where its ``verbose`` asks for it and nobody else shows it.

    Parameters
    ----------
    search : FusionSearch
        The search, which is about to begin.
    n_done : int
        Trials that its study has already.
    """

    def __init__(self, search: Any, n_done: int) -> None:
        self.bar = Bar(type(search).__name__, unit="trials")
        self.is_shown = asks_for_bar(search)
        self.n_trials, self.n_done, self.n_folds, self.n_judged, self.what = search.n_trials, n_done, 1, 0, ""

    def __enter__(self) -> Self:
        if self.is_shown:
            self.bar.start()
            self.show()
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        self.bar.stop(kind is None)

    def begin(self, trial: Any, n_folds: int) -> None:
        """Show that a trial begins, whose values have been suggested."""
        values = ", ".join(f"{name}={value}" for name, value in trial.params.items())
        values = values if len(values) <= _LONGEST else f"{values[:_LONGEST]}..."
        self.what = f"trial {trial.number + 1}{f' ({values})' if values else ''}"
        self.n_folds, self.n_judged = n_folds, 0
        self.show()

    def fold(self) -> None:
        """Show that a fold of the trial is done."""
        self.n_judged += 1
        if self.n_judged < self.n_folds:
            self.show()

    def end(self) -> None:
        """Show that a trial has ended, whatever came of it."""
        self.n_done, self.n_judged, self.what = self.n_done + 1, 0, ""
        self.show()

    def refit(self) -> None:
        """Show that the best fusion is fitted."""
        self.bar.update("fitting the best on all rows", self.n_done, self.n_done, phase="refit")

    def show(self) -> None:
        """Show how far it is."""
        where = f", fold {self.n_judged + 1} of {self.n_folds}" if self.what else ""
        self.bar.update(self.what + where, self.n_done + self.n_judged / self.n_folds, self.n_trials)
