"""Members from a finished search of scikit-learn, whose fits were kept while it ran."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from skfusion.pool._member import Member
from skfusion.pool.importers._from_estimators import _unfitted
from skfusion.pool.importers._kept import note, of_one_kind, opened
from skfusion.pool.importers._member_of import key_of

REMEDY = "search = KeepTrials(folder).wrap(search) before its fit, and fit that one"


def from_search(search: Any, store: Any, fold: int | None) -> tuple[list[Member], np.ndarray | None]:
    """Return members and classes; see :meth:`ModelPool.from_search`."""
    kind = type(search).__name__
    if not (hasattr(search, "estimator") and hasattr(search, "fit") and not isinstance(search, type)):
        raise TypeError(
            f"from_search takes a search of scikit-learn, such as RandomizedSearchCV, that was fitted; got {kind}."
        )
    run = getattr(search.estimator, "kept_run", None)
    if not hasattr(search, "cv_results_"):
        wrap = "" if run else f" Wrap it first, or its fits are lost: {REMEDY}."
        raise ValueError(f"The {kind} is not fitted. Call its fit first.{wrap}")
    if run is None:
        raise ValueError(f"The {kind} has thrown its fits away, all but best_estimator_. Wrap it: {REMEDY}.")
    place = opened(search.estimator.keep if store is None else store)
    kept = [place.get(name) for name in place.names() if name.startswith(f"{run}-")]
    if not kept:
        raise ValueError(
            f"{place!r} has no member of this {kind}: all its fits have failed, or it was kept elsewhere, which you "
            "can name: from_search(search, store=folder)."
        )
    table = Table(search, kept)
    if fold is not None and not 0 <= fold < table.n_folds:
        raise ValueError(f"fold must be from 0 to {table.n_folds - 1}, as the {kind} has {table.n_folds}; got {fold}.")
    folds = [*range(table.n_folds)] if fold is None else [fold]
    wanted = [(trial, k) for trial in range(len(table.params)) for k in folds]
    found = {place: table.taken(*place) for place in wanted}
    members = [table.named(member, *place) for place, member in found.items() if member is not None]
    members, classes, left_out = of_one_kind(members)
    gone = {table.name(*place): table.why_not(*place) for place, member in found.items() if member is None}
    if not members:
        raise ValueError(f"No fit of the {kind} has a score: {next(iter(gone.values()))}. Fit its estimator by itself.")
    note(f"{len(wanted)} fits of the {kind}", gone | left_out)
    return members, classes


class Table:
    """The results of a search, and which member is of which trial and fold.

    What keeps a member knows its settings, its score and its held-out rows, but not the number of its trial and fold.
    So trials are found by their settings, and folds by the scores that all trials have in them.
    """

    def __init__(self, search: Any, kept: list[Member]) -> None:
        results = search.cv_results_
        self.search, self.params = search, results["params"]
        self.n_folds = int(search.n_splits_)
        metric = search.refit if getattr(search, "multimetric_", False) else "score"
        if f"split0_test_{metric}" not in results:
            metric = next(key for key in results if key.startswith("split0_test_")).removeprefix("split0_test_")
        self.scores = np.array([results[f"split{k}_test_{metric}"] for k in range(self.n_folds)], float)
        # Where trials begin with fewer rows, each iteration has folds of its own.
        by_rows = "iter" in results and getattr(search, "resource", None) == "n_samples"
        self.part = np.asarray(results["iter"]) if by_rows else np.zeros(len(self.params), int)
        self.kept: dict[tuple[str, str], list[Member]] = {}
        for member in kept:
            key = key_of(member.meta["params"]), _rows_of(member)
            self.kept.setdefault(key, []).append(member)
        self.keys = [key_of(params) for params in self.params]
        self.rows = self._held_out([*{rows: None for _, rows in self.kept}])

    def _held_out(self, parts: list[str]) -> dict[tuple[int, int], str]:
        """Return the held-out rows of each fold: those in which most trials have the score of a member."""
        places = [(part, k) for part in np.unique(self.part).tolist() for k in range(self.n_folds)]
        votes = np.zeros((len(parts), len(places)))
        for i, rows in enumerate(parts):
            for j, (part, k) in enumerate(places):
                trials = np.flatnonzero(self.part == part).tolist()
                votes[i, j] = sum(bool(self._equal(trial, k, rows)) for trial in trials)
        return {places[j]: parts[i] for i, j in zip(*linear_sum_assignment(-votes), strict=True)}

    def _equal(self, trial: int, fold: int, rows: str) -> list[Member]:
        """Return the members of a trial's settings with its score, the last one first."""
        candidates = self.kept.get((self.keys[trial], rows), [])
        return [m for m in reversed(candidates) if m.score == self.scores[fold, trial]]

    def taken(self, trial: int, fold: int) -> Member | None:
        """Return the member of a trial and fold, which no other trial of the same settings gets."""
        rows = self.rows.get((int(self.part[trial]), fold))
        equal = [] if rows is None else self._equal(trial, fold, rows)
        if equal:
            self.kept[self.keys[trial], str(rows)].remove(equal[0])
        return equal[0] if equal else None

    def name(self, trial: int, fold: int) -> str:
        return f"trial-{trial}" + (f"-fold-{fold}" if self.n_folds > 1 else "")

    def named(self, member: Member, trial: int, fold: int) -> Member:
        """Return a member with its place in the search, and the net that it belongs to."""
        about = {"trial": trial, "fold": fold, "mean_score": float(self.search.cv_results_[self._mean][trial])}
        net = member.net
        if member.is_network and net is None:
            net = _net_with(self.search.estimator.wrapped, self.params[trial])
        return member.replace(name=self.name(trial, fold), meta={**member.meta, **about}, net=net)

    @property
    def _mean(self) -> str:
        return str(next(key for key in self.search.cv_results_ if key.startswith("mean_test_")))

    def why_not(self, trial: int, fold: int) -> str:
        failed = not np.isfinite(self.scores[fold, trial])
        return "their fit or score has failed" if failed else "they were not kept"


def _rows_of(member: Member) -> str:
    part = member.meta.get("judged_on")
    return "" if part is None else str(part["digest"])


def _net_with(estimator: Any, params: dict[str, Any]) -> Any:
    """Return the unfitted net of a trial: the estimator with its settings, or the net in it."""
    estimator = _unfitted(estimator)
    estimator.set_params(**params)
    net = estimator if hasattr(estimator, "module") else getattr(estimator, "estimator", None)
    return net if hasattr(net, "module") else None
