"""Members from a finished search of scikit-learn, whose fits were kept while it ran."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfusion.pool._member import Member
from skfusion.pool.importers._from_estimators import _unfitted
from skfusion.pool.importers._kept import note, of_one_kind, opened
from skfusion.pool.importers._member_of import plain

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
    kept = [name for name in place.names() if name.startswith(f"{run}-")]
    if not kept:
        raise ValueError(
            f"{place!r} has no member of this {kind}: all its fits have failed, or it was kept elsewhere, which you "
            "can name: from_search(search, store=folder)."
        )
    table = _table(search, {name: place.get(name) for name in kept})
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


def _table(search: Any, kept: dict[str, Member]) -> Table:
    """Return the results of a search beside the members of its last fit.

    Their names are those of the copy that it has made of its estimator for this fit, with the number of the copy of
    that one. The members of a fit that was cut off have other scores than the results, which are of the one before.
    """
    estimator, tables = search.estimator, []
    for token in (*reversed(estimator.copies), estimator.token):
        numbered = {name.split("-")[2]: member for name, member in kept.items() if name.split("-")[1] == token}
        tables.append(Table(search, {int(number): member for number, member in numbered.items()}))
    return max(tables, key=Table.n_found)  # the first of those with most


class Table:
    """The results of a search, and which member is of which trial and fold, by their numbers and checked by scores."""

    def __init__(self, search: Any, kept: dict[int, Member]) -> None:
        results = search.cv_results_
        self.search, self.params, self.kept = search, results["params"], kept
        self.n_folds = int(search.n_splits_)
        metric = search.refit if getattr(search, "multimetric_", False) else "score"
        if f"split0_test_{metric}" not in results:
            metric = next(key for key in results if key.startswith("split0_test_")).removeprefix("split0_test_")
        self.means = results[f"mean_test_{metric}"]
        self.scores = np.array([results[f"split{k}_test_{metric}"] for k in range(self.n_folds)], float)

    def n_found(self) -> int:
        return sum(self.taken(*divmod(number, self.n_folds)) is not None for number in self.kept)

    def taken(self, trial: int, fold: int) -> Member | None:
        """Return the member of a trial and fold; None where it has failed, or is of another fit."""
        member = self.kept.get(trial * self.n_folds + fold)
        is_in = member is not None and trial < len(self.params) and member.score == self.scores[fold, trial]
        return member if is_in else None

    def name(self, trial: int, fold: int) -> str:
        return f"trial-{trial}" + (f"-fold-{fold}" if self.n_folds > 1 else "")

    def named(self, member: Member, trial: int, fold: int) -> Member:
        """Return a member with its place in the search, and the net that it belongs to."""
        about = {"trial": trial, "fold": fold, "params": plain(self.params[trial])}
        about["mean_score"] = float(self.means[trial])
        net = member.net
        if member.is_network and net is None:
            net = _net_with(self.search.estimator.wrapped, self.params[trial])
        return member.replace(name=self.name(trial, fold), meta={**member.meta, **about}, net=net)

    def why_not(self, trial: int, fold: int) -> str:
        failed = not np.isfinite(self.scores[fold, trial])
        return "their fit or score has failed" if failed else "they have failed, or could not be stored"


def _net_with(estimator: Any, params: dict[str, Any]) -> Any:
    """Return the unfitted net of a trial: the estimator with its settings, or the net in it."""
    estimator = _unfitted(estimator)
    estimator.set_params(**params)
    net = estimator if hasattr(estimator, "module") else getattr(estimator, "estimator", None)
    return net if hasattr(net, "module") else None
