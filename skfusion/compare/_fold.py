"""One fold of a comparison: train what is shared once, then fuse, score and time every fusion."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring

from skfusion.combine._scorer import score_by
from skfusion.compare._measures import calibration, device_of, microseconds_a_row, size, warm_up
from skfusion.estimators._base import BaseFusion
from skfusion.estimators.students._semi_supervised import SemiSupervised
from skfusion.estimators.support._far_below import FarBelowWarning
from skfusion.estimators.support._pipeline import split_pipeline
from skfusion.estimators.support._repeated import taken
from skfusion.estimators.support._shared_pools import SharedPools
from skfusion.merge import OneMemberWarning
from skfusion.pool import ModelPool


class Fold:
    """The rows of one fold, and what its fusions share.

    Parameters
    ----------
    number : int
        From 0.
    X, y : array-like
        All rows.
    groups : array-like or None
        Groups of all rows.
    train, test : ndarray of int
        Positions.
    scorers : dict
        ``scorer(estimator, X, y)`` by name; the gains are those of the first.
    hold_out : bool
        Whether all fusions hold out rows.
    error_score : float or "raise"
        The score of a fusion, or a scorer, that fails.
    labelled : ndarray of bool, optional
        Which of all rows have a label, where some of the fusions learn from rows that have none. The others are trained
        on the labelled rows, and all are tested on these.
    """

    def __init__(
        self,
        number: int,
        X: Any,
        y: Any,
        groups: Any,
        train: np.ndarray,
        test: np.ndarray,
        scorers: Mapping[str, Callable[..., float]],
        hold_out: bool,
        error_score: float | str,
        labelled: np.ndarray | None = None,
    ):
        self.number, self.scorers, self.hold_out, self.error_score = number, scorers, hold_out, error_score
        whole = None
        if labelled is not None:
            whole = take(X, train), take(y, train)
            train, test = train[labelled[train]], test[labelled[test]]
            y = _plain(y)
        self.X_train, self.X_test = take(X, train), take(X, test)
        self.y_train, self.y_test = take(y, train), take(y, test)
        self.whole = whole or (self.X_train, self.y_train)  # with the rows that have no label
        self.groups = None if groups is None else take(groups, train)
        self.sizes = {"n_train": len(train), "n_test": len(test)}
        self.pools = SharedPools()
        self.singles: dict[Any, list[float]] = {}

    def run(self, fusions: Mapping[str, Any], done: Callable[[str, int], Any] | None) -> list[dict[str, Any]]:
        """Return one row of results a fusion."""
        rows = []
        for device in {device_of(estimator) for estimator in fusions.values()} - {None}:
            warm_up(device)
        for name, estimator in fusions.items():
            row = {"fusion": name, "fold": self.number, **self.sizes}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", OneMemberWarning)  # which the column n_merged tells of
                    warnings.simplefilter("ignore", FarBelowWarning)  # and the gains
                    row |= self.results(estimator)
            except Exception as error:
                if self.error_score == "raise":
                    raise RuntimeError(f"Fusion {name!r} failed in fold {self.number}: {_told(error)}") from error
                row |= {**dict.fromkeys(self.scorers, self.error_score), "error": _told(error)}
            rows.append(row)
            if done is not None:
                done(name, self.number)
        return rows

    def results(self, estimator: Any) -> dict[str, Any]:
        """Fit one fusion and return what is known of it."""
        estimator = clone(estimator)
        head, last = split_pipeline(estimator)
        start, X_test = time.perf_counter(), self.X_test
        if isinstance(last, BaseFusion):
            X_train = self.X_train if head is None else head.fit_transform(self.X_train, self.y_train)
            X_test = X_test if head is None else head.transform(X_test)
            spent = self.fit(last, X_train, X_test, start)
            if head is not None:
                estimator.steps = [*head.steps, estimator.steps[-1]]
        else:
            rows = self.whole if isinstance(last, SemiSupervised) else (self.X_train, self.y_train)
            prefix = "" if last is estimator else f"{estimator.steps[-1][0]}__"
            estimator.fit(*rows, **{f"{prefix}{name}": given for name, given in taken(last, self.groups).items()})
            spent = {"collect_seconds": time.perf_counter() - start, "fuse_seconds": 0.0}
        scores, first = self.scores(estimator), next(iter(self.scorers))
        known = not scores["error"].startswith(f"{first}: ")
        return {
            **scores,
            **self.gains(last, X_test, scores[first] if known else float("nan")),
            **calibration(estimator, self.X_test, self.y_test),
            **spent,
            "predict_us_per_row": microseconds_a_row(estimator, self.X_test, self.sizes["n_test"]),
            **size(last),
        }

    def scores(self, estimator: Any) -> dict[str, Any]:
        """Return the scores by name, and what went wrong with those that have none."""
        found: dict[str, Any] = {"error": ""}
        together = check_scoring(estimator, scoring=dict(self.scorers), raise_exc=False)
        for name, score in together(estimator, self.X_test, self.y_test).items():
            try:
                failed = isinstance(score, str)  # the traceback of it
                asked = self.scorers[name]
                found[name] = score_by(asked, estimator, self.X_test, self.y_test) if failed else float(score)
            except Exception as error:
                if self.error_score == "raise":
                    raise
                found |= {name: self.error_score, "error": found["error"] or f"{name}: {_told(error)}"}
        return found

    def fit(self, estimator: BaseFusion, X: Any, X_test: Any, start: float) -> dict[str, float]:
        """Fit a fusion on shared pools and return the seconds that each half takes where nothing is shared."""
        given = estimator._part("collect")
        if isinstance(given, ModelPool):
            given.warn_of_leakage(clone(estimator)._rows(X_test, self.y_test, None, None), "to test the fusions")
        rows = estimator._rows(X, self.y_train, None, self.groups)
        self.pools.begin()
        if isinstance(given, ModelPool):
            ready = time.perf_counter()
            estimator._fuse_pool(given, rows, None)
        else:
            collected = estimator._collect(rows, force_hold_out=self.hold_out, shared=self.pools)
            ready = time.perf_counter()
            estimator._fuse(collected)
        return {"collect_seconds": self.pools.fair(ready - start), "fuse_seconds": time.perf_counter() - ready}

    def gains(self, estimator: Any, X_test: Any, score: float) -> dict[str, float]:
        """Return the score less that of the best and of the mean member on the test rows, by the first scorer."""
        pool = getattr(estimator, "pool_", None)
        if not isinstance(estimator, BaseFusion) or not isinstance(pool, ModelPool) or np.isnan(score):
            return dict.fromkeys(["best_single", "mean_single", "gain_over_best", "gain_over_mean"], float("nan"))
        passes = getattr(estimator, "n_passes_", None)  # with dropout, a member is not what it is in other fusions
        key = joblib.hash((tuple(id(m.state) for m in pool), X_test)), passes
        if key not in self.singles:
            scorer = next(iter(self.scorers.values()))
            found = []
            for member in pool:
                single = copy(estimator)
                own = estimator.estimator is None or member.meta.get("own_net")  # as an ensemble runs it
                net = member.net if own and member.net is not None else estimator.net_
                vars(single).update(single._fitted_as(member.state, net))
                found.append(score_by(scorer, single, X_test, self.y_test))
            self.singles[key] = found
        best, mean = max(self.singles[key]), float(np.mean(self.singles[key]))
        return {
            "best_single": best,
            "mean_single": mean,
            "gain_over_best": score - best,
            "gain_over_mean": score - mean,
        }


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def labelled_rows(fusions: Mapping[str, Any], y: Any) -> np.ndarray | None:
    """Return which rows have a label; None where no fusion learns from rows that have none, or all have one."""
    ends = [split_pipeline(estimator)[1] for estimator in fusions.values()]
    half = [end for end in ends if isinstance(end, SemiSupervised)]
    if not half:
        return None
    labelled = half[0].labelled(y)
    return None if labelled.all() else labelled


def _plain(y: Any) -> Any:
    """Return labels in an array of their own type, not of objects, with -1 in the place of no label."""
    y = np.asarray(y)
    if y.dtype.kind != "O":
        return y
    known = [label for label in y.tolist() if label != -1]
    return np.array([known[0] if label == -1 else label for label in y.tolist()])


def take(data: Any, index: np.ndarray) -> Any:
    """Return rows of arrays, frames, lists, or dicts of them."""
    if isinstance(data, Mapping):
        return {k: take(v, index) for k, v in data.items()}
    if hasattr(data, "iloc"):
        return data.iloc[index]
    return (data if hasattr(data, "shape") else np.asarray(data))[index]


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
