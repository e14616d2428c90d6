"""One fold of a comparison: train shared members once, then fuse, score and time every fusion."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring

from skfusion._rows import rows_at
from skfusion.compare._bar import ComparisonBar
from skfusion.compare._table import (
    CALIBRATION,
    calibration,
    device_of,
    microseconds_a_row,
    size,
    warm_up,
    warm_up_others,
)
from skfusion.data import score_by, unseen_classes
from skfusion.estimators import BaseFusion, FarBelowWarning, SemiSupervised
from skfusion.estimators.support import SharedPools, all_networks, fit_on_shared, split_pipeline, stream, taken
from skfusion.merge import OneMemberWarning
from skfusion.pool import ModelPool

GAINS = ["gain_over_best", "gain_over_mean", "best_single", "mean_single"]


@dataclass(eq=False)
class Fold:
    """The members that the fusions of one fold share, whose rows are at the positions ``train`` and ``test``.

    Gains are of the first scorer. Fusions that need labels are trained on the rows ``labelled`` alone. With
    ``hold_out`` all hold rows out, else those that judge members. No fusion changes what another one gets: each has its
    own copy of the rows, members are shared by all that made them, and ``seed`` is for those that draw from the global
    generators.
    """

    number: int
    X: Any
    y: Any
    groups: Any
    train: np.ndarray
    test: np.ndarray
    scorers: Mapping[str, Callable[..., float]]
    hold_out: bool
    error_score: float | str
    seed: int
    labelled: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.pools = SharedPools()
        self.singles: dict[Any, tuple[ModelPool, list[float]]] = {}
        self.take_rows()

    def take_rows(self) -> None:
        """Copy the rows of both parts, as estimators may write into theirs."""
        train, test, y = self.train, self.test, self.y
        self.X_train, self.y_train = self.whole = rows_at(self.X, train), rows_at(y, train)
        if self.labelled is not None:  # which ``whole`` has beside the rows without a label
            train, test, y = train[self.labelled[train]], test[self.labelled[test]], _plain(y)
            self.X_train, self.y_train = rows_at(self.X, train), rows_at(y, train)
        self.X_test, self.y_test = rows_at(self.X, test), rows_at(y, test)
        self.groups_train = None if self.groups is None else rows_at(self.groups, train)
        self.sizes = {"n_train": len(train), "n_test": len(test)}

    def run(self, fusions: Mapping[str, Any], done: Callable[[str, int], Any] | None) -> list[dict[str, Any]]:
        """Return one row of results a fusion."""
        rows = []
        for device in {device_of(estimator) for estimator in fusions.values()}:
            warm_up_others() if device is None else warm_up(device)
        for name, estimator in fusions.items():
            row = {"fusion": name, "fold": self.number, **self.sizes}
            self.take_rows()
            if isinstance(done, ComparisonBar):
                done.begin(name, self.number)
            try:
                with warnings.catch_warnings(), stream(estimator, self.seed):
                    warnings.simplefilter("ignore", OneMemberWarning)  # the column n_merged shows it
                    warnings.simplefilter("ignore", FarBelowWarning)  # and the gains show this
                    row |= self.results(estimator)
            except Exception as error:
                if self.error_score == "raise":
                    raise RuntimeError(f"Fusion {name!r} failed in fold {self.number}: {_named(error)}") from error
                row |= {**dict.fromkeys(self.scorers, self.error_score), "error": _named(error)}
            rows.append(row)
            if done is not None:
                done(name, self.number)
        return rows

    def results(self, estimator: Any) -> dict[str, Any]:
        """Fit one fusion, and return its scores, gains, times and sizes."""
        estimator = clone(estimator)
        head, last = split_pipeline(estimator)
        start, X_test = time.perf_counter(), self.X_test
        if isinstance(last, BaseFusion):
            X_train = self.X_train if head is None else head.fit_transform(self.X_train, self.y_train)
            X_test = X_test if head is None else head.transform(X_test)
            if (pool := last._given_pool()) is not None:
                pool.warn_of_leakage(clone(last)._rows(X_test, self.y_test, None, None), "to test the fusions")
            rows = last._rows(X_train, self.y_train, None, self.groups_train)
            collecting, fusing = fit_on_shared(last, rows, self.pools, self.hold_out, start)
            if head is not None:
                estimator.steps = [*head.steps, estimator.steps[-1]]
        else:
            data = self.whole if isinstance(last, SemiSupervised) else (self.X_train, self.y_train)
            prefix = "" if last is estimator else f"{estimator.steps[-1][0]}__"
            estimator.fit(
                *data, **{f"{prefix}{name}": groups for name, groups in taken(last, self.groups_train).items()}
            )
            collecting, fusing = time.perf_counter() - start, 0.0
        row = self.scores(estimator) | {"collect_seconds": collecting, "fuse_seconds": fusing}
        row |= size(last) | {"n_held_out": n_held_out(last)}
        first = next(iter(self.scorers))
        known = not row["error"].startswith(f"{first}: ")
        parts: list[tuple[Sequence[str], Callable[[], dict[str, float]]]] = [
            (GAINS, lambda: self.gains(last, X_test, row[first] if known else float("nan"))),
            (CALIBRATION, lambda: calibration(estimator, self.X_test, self.y_test)),
            (["predict_us_per_row"], lambda: microseconds_a_row(estimator, self.X_test, self.sizes["n_test"])),
        ]
        for columns, compute in parts:
            try:
                row |= compute()
            except Exception as error:  # the scores are what they are
                if self.error_score == "raise":
                    raise
                row |= dict.fromkeys(columns, float("nan")) | errors(row, columns[0], error)
        return row

    def scores(self, estimator: Any) -> dict[str, Any]:
        """Return the scores by name, and what went wrong with those that have none."""
        scores: dict[str, Any] = {"error": ""}
        together = check_scoring(estimator, scoring=dict(self.scorers), raise_exc=False)
        unseen = unseen_classes(estimator, self.y_test)  # which scorers take for those that the fusion knows
        try:
            found = dict.fromkeys(self.scorers, "") if unseen else together(estimator, self.X_test, self.y_test)
        except Exception:  # as where there are no probabilities; each alone says so
            found = dict.fromkeys(self.scorers, "")
        for name, score in found.items():
            try:
                failed = isinstance(score, str)  # the traceback of it
                scorer = self.scorers[name]
                scores[name] = score_by(scorer, estimator, self.X_test, self.y_test) if failed else float(score)
            except Exception as error:
                if self.error_score == "raise":
                    raise
                scores |= {name: self.error_score} | errors(scores, name, error)
        return scores

    def gains(self, estimator: Any, X_test: Any, score: float) -> dict[str, float]:
        """Return the score less that of the best and of the mean member on the test rows, by the first scorer."""
        pool = getattr(estimator, "pool_", None)
        if not isinstance(estimator, BaseFusion) or not isinstance(pool, ModelPool) or np.isnan(score):
            return dict.fromkeys(GAINS, float("nan"))
        passes = getattr(estimator, "n_passes_", None)  # with dropout, a member is not what it is in other fusions
        key = joblib.hash((tuple(id(m.state if m.is_network else m.estimator) for m in pool), X_test)), passes
        if key not in self.singles:
            scorer = next(iter(self.scorers.values()))
            scores = []
            for member in pool:
                single = copy(estimator)
                runs_itself = estimator.estimator is None or member.meta.get("own_net")  # as an ensemble runs it
                net = member.net if runs_itself and member.net is not None else estimator.net_
                of_any_kind = not all_networks(pool)  # of which each is read in its own units
                alone = single._fitted_with(member, net) if of_any_kind else single._fitted_as(member.state, net)
                vars(single).update(alone)
                scores.append(_score_or_nan(scorer, single, X_test, self.y_test))
            self.singles[key] = pool, scores  # the pool is kept, so that no other state gets its id
        scores = self.singles[key][1]
        best, mean = (float(of(scores)) for of in (np.max, np.mean))  # NaN where a member has no score
        return dict(zip(GAINS, (score - best, score - mean, best, mean), strict=True))


def _score_or_nan(scorer: Any, estimator: Any, X: Any, y: Any) -> float:
    try:
        return score_by(scorer, estimator, X, y)
    except ValueError:  # as of a member that predicts NaN, which the fusion may have left out
        return float("nan")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def errors(row: Mapping[str, Any], column: str, error: Exception) -> dict[str, str]:
    """Return what has gone wrong so far, with one more error and the column that it concerns."""
    return {"error": "; ".join(filter(None, [row["error"], f"{column}: {_named(error)}"]))}


def n_held_out(estimator: Any) -> float:
    """Return how many training rows the members were not trained on; NaN where they were trained elsewhere."""
    if not isinstance(estimator, BaseFusion):
        return 0
    if estimator._given_pool() is not None:
        return float("nan")
    held_out = getattr(estimator, "held_out_", None)
    return 0 if held_out is None or getattr(estimator, "refit", False) else len(held_out)


def labelled_rows(fusions: Mapping[str, Any], y: Any) -> np.ndarray | None:
    """Return which rows have a label; None where no fusion learns from rows that have none, or all have one."""
    ends = (split_pipeline(estimator)[1] for estimator in fusions.values())
    labelled = next((end.labelled(y) for end in ends if isinstance(end, SemiSupervised)), None)
    return None if labelled is None or labelled.all() else labelled


def _plain(y: Any) -> Any:
    """Return labels in an array of their type, not of objects, with a label in the place of -1 for none."""
    y = np.asarray(y)
    if y.dtype.kind != "O":
        return y
    known = [label for label in y.tolist() if label != -1]
    return np.array([known[0] if label == -1 else label for label in y.tolist()])


def n_rows(data: Any) -> int:
    """Return the number of rows."""
    first = next(iter(data.values()), ()) if isinstance(data, Mapping) else data
    return first.shape[0] if hasattr(first, "shape") else len(first)


def holds_out(estimator: Any) -> bool:
    """Return whether a fusion judges the members that it collects on held-out rows."""
    last = split_pipeline(estimator)[1]
    if not isinstance(last, BaseFusion) or isinstance(last._part("collect"), ModelPool):
        return False
    return any(p.needs_labels and not getattr(p, "out_of_fold", False) for p in last._parts())


def trained_on(estimator: Any, hold_out: bool) -> str:
    """Return in words which rows of the training part members are trained on."""
    last = split_pipeline(estimator)[1]
    if not isinstance(last, BaseFusion):
        return "all rows"
    if isinstance(last._part("collect"), ModelPool):
        return "rows of a given pool"
    if not (hold_out or holds_out(estimator)):
        return "all rows"
    if getattr(last, "refit", False):
        return "all rows, after the choice by held-out ones"
    return f"all but the held-out rows (validation_fraction={last.validation_fraction:g})"
