"""One fold of a comparison: train what is shared once, then fuse, score and time every fusion."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from copy import copy
from statistics import median
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring, log_loss
from torch import Tensor

from skfusion.compare._calibration import expected_calibration_error
from skfusion.estimators import StackingFusion
from skfusion.estimators._base import BaseFusion
from skfusion.estimators._half_labelled import SemiSupervised
from skfusion.estimators._pipeline import split_pipeline
from skfusion.merge import OneMemberWarning
from skfusion.pool import ModelPool
from skfusion.state import n_bytes, n_parameters

REPEATS = 5
"""Timed predictions, of which the median counts."""


class SharedPools(dict[str, ModelPool]):
    """The pools of a fold by the fingerprint of what made them; each user is charged for the whole of its pools."""

    def __init__(self) -> None:
        super().__init__()
        self.cost: dict[str, float] = {}
        self.spent = self.charged = 0.0

    def __contains__(self, key: object) -> bool:
        self._asked = time.perf_counter()
        return super().__contains__(key)

    def __setitem__(self, key: str, pool: ModelPool) -> None:
        self.cost[key] = time.perf_counter() - self._asked
        self.spent += self.cost[key]
        super().__setitem__(key, pool)

    def __getitem__(self, key: str) -> ModelPool:
        self.charged += self.cost[key]
        return super().__getitem__(key)


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
        labelled: np.ndarray | None = None,
    ):
        self.number, self.scorers, self.hold_out = number, scorers, hold_out
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
        for name, estimator in fusions.items():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", OneMemberWarning)  # which the column n_merged tells of
                    rows.append({"fusion": name, "fold": self.number, **self.sizes, **self.results(estimator)})
            except Exception as error:
                raise RuntimeError(
                    f"Fusion {name!r} failed in fold {self.number}: {type(error).__name__}: {error}"
                ) from error
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
            estimator.fit(*(self.whole if isinstance(last, SemiSupervised) else (self.X_train, self.y_train)))
            spent = {"collect_seconds": time.perf_counter() - start, "fuse_seconds": 0.0}
        scores = check_scoring(estimator, scoring=dict(self.scorers))(estimator, self.X_test, self.y_test)
        return {
            **{name: float(score) for name, score in scores.items()},
            **self.gains(last, X_test, float(scores[next(iter(self.scorers))])),
            **calibration(estimator, self.X_test, self.y_test),
            **spent,
            "predict_us_per_row": microseconds_a_row(estimator, self.X_test, self.sizes["n_test"]),
            **size(last),
        }

    def fit(self, estimator: BaseFusion, X: Any, X_test: Any, start: float) -> dict[str, float]:
        """Fit a fusion on shared pools and return the seconds that each half takes where nothing is shared."""
        given = estimator._part("collect")
        if isinstance(given, ModelPool):
            given.warn_of_leakage(clone(estimator)._rows(X_test, self.y_test, None, None), "to test the fusions")
        rows = estimator._rows(X, self.y_train, None, self.groups)
        self.pools.spent = self.pools.charged = 0.0
        if isinstance(given, ModelPool):
            ready = time.perf_counter()
            estimator._fuse_pool(given, rows, None)
        else:
            collected = estimator._collect(rows, force_hold_out=self.hold_out, shared=self.pools)
            ready = time.perf_counter()
            estimator._fuse(collected)
        collecting = ready - start - self.pools.spent + self.pools.charged
        return {"collect_seconds": collecting, "fuse_seconds": time.perf_counter() - ready}

    def gains(self, estimator: Any, X_test: Any, score: float) -> dict[str, float]:
        """Return the score less that of the best and of the mean member on the test rows, by the first scorer."""
        pool = getattr(estimator, "pool_", None)
        if not isinstance(estimator, BaseFusion) or not isinstance(pool, ModelPool):
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
                found.append(float(scorer(single, X_test, self.y_test)))
            self.singles[key] = found
        best, mean = max(self.singles[key]), float(np.mean(self.singles[key]))
        return {
            "best_single": best,
            "mean_single": mean,
            "gain_over_best": score - best,
            "gain_over_mean": score - mean,
        }


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


def calibration(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    """Return log-loss and expected calibration error; NaN where there are no probabilities.

    Labels that do not exclude each other count as that many binary problems.
    """
    unknown = {"log_loss": float("nan"), "ece": float("nan")}
    if not is_classifier(estimator) or not hasattr(estimator, "predict_proba"):
        return unknown
    proba, y = estimator.predict_proba(X), np.asarray(y)
    if not isinstance(proba, np.ndarray):
        return unknown
    if y.ndim == 2 and y.shape[1] > 1:
        positive = proba.astype(np.float64).ravel()
        proba, codes, n_classes = np.stack([1 - positive, positive], axis=1), y.ravel().astype(int), 2
    else:
        classes = list(estimator.classes_)
        classes += [label for label in np.unique(y) if label not in classes]  # that the training rows lack
        place = {label: i for i, label in enumerate(classes)}
        codes, n_classes = np.array([place[label] for label in y.ravel()]), len(classes)
        proba = np.pad(proba.astype(np.float64), ((0, 0), (0, n_classes - proba.shape[1])))
    tiny = np.finfo(np.float32).eps
    clipped = np.clip(proba, tiny, 1.0)
    loss = log_loss(codes, clipped / clipped.sum(axis=1, keepdims=True), labels=np.arange(n_classes))
    return {"log_loss": float(loss), "ece": expected_calibration_error(codes, proba)}


def microseconds_a_row(estimator: Any, X: Any, n: int) -> float:
    """Return the time of a prediction, the median of some; the first calls, which set things up, came before."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        estimator.predict(X)
        times.append(time.perf_counter() - start)
        if sum(times) > 2:
            break
    return 1e6 * median(times) / n


def size(estimator: Any) -> dict[str, float]:
    """Return what a prediction needs: numbers, bytes, networks; and the networks that were collected and summed."""
    if isinstance(estimator, StackingFusion):
        n, states = len(estimator.estimators_), [] if estimator.pool_ is None else estimator.pool_.states
        numbers = {"n_parameters": sum(map(n_parameters, states)), "n_bytes": sum(map(n_bytes, states))}
        unknown = dict.fromkeys(numbers, float("nan"))
        return {**(numbers if states else unknown), "n_members": n, "n_collected": n, "n_merged": float("nan")}
    states = states_of(estimator)
    if not states:
        unknown = dict.fromkeys(["n_parameters", "n_bytes", "n_merged"], float("nan"))
        return {**unknown, "n_members": 1, "n_collected": 1}
    pool, shares = getattr(estimator, "pool_", None), getattr(estimator, "member_weights_", None)
    merged = shares is not None and not hasattr(estimator, "members_")
    return {
        "n_parameters": sum(n_parameters(s) for s in states),
        "n_bytes": sum(n_bytes(s) for s in states),
        "n_members": len(states) * getattr(estimator, "n_passes_", 1),
        "n_collected": 1 if pool is None else len(pool),
        "n_merged": sum(share != 0 for share in shares.values()) if merged else float("nan"),
    }


def states_of(estimator: Any) -> list[Any]:
    """Return the states of the networks that a fitted estimator of this library predicts with."""
    if hasattr(estimator, "members_"):
        return [m.state for m in estimator.members_]
    state = getattr(estimator, "state_", None)
    own = isinstance(state, Mapping) and all(isinstance(tensor, Tensor) for tensor in state.values())
    return [state] if own else []


def holds_out(estimator: Any) -> bool:
    """Return whether a fusion judges the members that it collects on held-out rows."""
    last = split_pipeline(estimator)[1]
    if not isinstance(last, BaseFusion) or isinstance(last._part("collect"), ModelPool):
        return False
    return any(p.needs_labels and not getattr(p, "out_of_fold", False) for p in last._parts())
