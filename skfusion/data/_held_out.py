"""Held-out rows: which they are, and the score of predictions for them, by scikit-learn's scorers too."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, r2_score
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

from skfusion._rows import Rows, Task

Fold = tuple[np.ndarray, np.ndarray]
"""Positions to fit on, and positions to predict."""

Score = Callable[[np.ndarray, Rows], float]
"""``score(prediction, rows)``, higher is better; prediction of shape (n_samples, n_outputs)."""


def hold_out(rows: Rows, fraction: float, seed: int, task: Task) -> Fold:
    """Return the positions to train on and those to hold out, each sorted.

    Rows of equal inputs stay on one side, so that the held-out score is honest, unless hardly any rows differ: see
    :meth:`~skfusion._rows.Rows.units`. The split is stratified by class, or keeps groups together where the rows have
    groups; then equal rows of different groups may be parted. The order of the rows has no influence.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1; got {fraction}.")
    if rows.groups is not None:
        return _hold_out_groups(rows, fraction, seed, task)
    first, unit = rows.units()
    if len(np.unique(rows.keys)) < 2 or len(first) < 2:
        raise ValueError(
            f"Holding out rows needs at least 2 different ones: got n_samples={len(rows)}. Give more rows, or a merger "
            "that needs no held-out score, such as Uniform()."
        )
    movable, stratify = np.arange(len(first)), None
    if task == "classification":
        codes = rows.y[first]
        counts = np.bincount(codes)
        movable = np.flatnonzero(counts[codes] >= 2)  # a class of one row must be trained on
        n_held = int(np.ceil(fraction * len(movable)))
        n_classes = len(np.unique(codes[movable]))
        if min(n_held, len(movable) - n_held) >= n_classes:
            stratify = codes[movable]
        if len(movable) < 2:
            movable, stratify = np.arange(len(first)), None
    _, held = train_test_split(movable, test_size=fraction, random_state=seed, stratify=stratify)
    return sides(np.isin(unit, held))


def _hold_out_groups(rows: Rows, fraction: float, seed: int, task: Task) -> Fold:
    n_groups = len(np.unique(rows.groups))
    if n_groups < 2:
        raise ValueError(f"Holding out whole groups needs at least 2 groups; got {n_groups}.")
    if task == "classification" and fraction <= 0.5:
        n_splits = min(round(1 / fraction), n_groups)
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        smallest = np.bincount(rows.y).min() if len(rows.y) else 0
        if smallest >= n_splits:
            return next(splitter.split(rows.y, rows.y, rows.groups))
    return next(GroupShuffleSplit(1, test_size=fraction, random_state=seed).split(rows.y, groups=rows.groups))


def held_positions(held_out: Any, n: int) -> np.ndarray:
    """Return the positions that ``fuse(held_out=)`` means, positions or a mask, among n rows of positive weight."""
    positions = np.asarray(held_out)
    rows = f"the {n} rows of positive weight"
    if positions.ndim != 1:
        raise ValueError(f"held_out must be one list of positions, or one mask; got shape {positions.shape}.")
    if positions.dtype == bool:
        if len(positions) != n:
            raise ValueError(f"held_out is a mask of {len(positions)} entries for {rows}; give one a row.")
        positions = np.flatnonzero(positions)
    if not len(positions):
        raise ValueError("held_out is empty, so no rows are left to judge on. Name some; None judges on all rows.")
    if not np.issubdtype(positions.dtype, np.integer):
        raise TypeError(f"held_out must hold whole numbers, or be a mask of booleans; got dtype {positions.dtype}.")
    if len(outside := positions[(positions < 0) | (positions >= n)]):
        raise ValueError(
            f"held_out has positions that are not from 0 to {n - 1}, among {rows}: {outside[:3].tolist()}."
        )
    places, counts = np.unique(positions, return_counts=True)
    if len(places) < len(positions):
        raise ValueError(f"held_out names rows more than once: {places[counts > 1][:3].tolist()}. Name each once.")
    if len(positions) == n:
        raise ValueError(
            f"held_out holds out all of {rows}, so none are left to train on or to estimate statistics on. Hold out "
            "fewer; None uses all rows for both."
        )
    return positions.astype(np.int64)


def sides(tested: np.ndarray) -> Fold:
    """Return the positions of the rows that are not tested, and of those that are."""
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def default_score(task: Task) -> Score:
    """Return accuracy (of whole label sets, in multi-label problems) or R2, as scikit-learn's ``score`` does."""

    def accuracy(p: np.ndarray, rows: Rows) -> float:
        right = ((p > 0.5) == rows.y).all(axis=1) if task == "multilabel" else p.argmax(axis=1) == rows.y
        return float(np.average(right, weights=rows.weight))

    accuracy.by_rank = task == "classification"  # which output is largest is all that it reads

    def r2(p: np.ndarray, rows: Rows) -> float:
        if not np.isfinite(p).all():
            return -np.inf
        if len(rows) < 2:  # undefined for a single row
            return -float(np.mean((p - rows.y) ** 2))
        return float(r2_score(rows.y, p, sample_weight=rows.weight))

    return r2 if task == "regression" else accuracy


def score_function(scoring: Any, task: Task) -> Score:
    """Return ``score(prediction, rows)``, higher is better, of a name of scikit-learn's, a scorer, or None.

    None is accuracy or R2. A scorer is ``scorer(estimator, X, y)``; classes are their codes, 0 to n_classes - 1.
    """
    if scoring is None:
        return default_score(task)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    kind = _KnownRegressor if task == "regression" else _KnownClassifier

    def score(prediction: np.ndarray, rows: Rows) -> float:
        weights = _weights(scorer, scoring, rows.weight)
        try:
            return score_by(scorer, kind(prediction, task), rows.X, rows.y, **weights)
        except ValueError as error:
            raise ValueError(
                f"scoring={scoring!r} cannot judge the {len(rows)} held-out rows: {error} Where they lack a class, use "
                "a larger validation_fraction, more rows, or another score."
            ) from error
        except AttributeError as error:
            reason = str(error).replace(kind.__name__, "what is scored")
            raise ValueError(
                f"scoring={scoring!r} asks for more than there is ({task}): {reason.rstrip('.')}. Scores see "
                f"predictions {'and probabilities ' if task != 'regression' else ''}only; give another one."
            ) from error

    return score


def scorer_of(scoring: Any, y: np.ndarray, weight: np.ndarray | None, task: Task) -> Callable[[np.ndarray], float]:
    """Return the score of a prediction, shape (n_samples, n_outputs), of rows without inputs, as combiners see them."""
    scorer = scorer_named(scoring)
    weights = _weights(scorer, scoring, weight)
    kind = _KnownRegressor if task == "regression" else _KnownClassifier
    X = np.empty((len(y), 0))

    def score(prediction: np.ndarray) -> float:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UndefinedMetricWarning)  # the error below says it
                value = score_by(scorer, kind(prediction, task), X, y, **weights)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"scoring={scoring!r} cannot judge predictions for {len(y)} held-out rows ({task}): {error} A combiner "
                "has probabilities or values and no inputs, and the rows may lack a class; use another score, or more "
                "rows."
            ) from error
        if np.isnan(value):
            raise ValueError(
                f"scoring={scoring!r} gives NaN for {len(y)} held-out rows, which may lack a class; use another score, "
                "or more rows."
            )
        return value

    return score


def scorer_named(scoring: Any) -> Any:
    """Return the scorer of scikit-learn that has a name; a callable is one by itself."""
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if not callable(scorer):
        raise TypeError(f"scoring must be the name of a scorer or scorer(estimator, X, y); got {scoring!r}.")
    return scorer


def score_by(scorer: Any, estimator: Any, X: Any, y: Any, **weights: Any) -> float:
    """Return the score of a fitted estimator by ``scorer(estimator, X, y)``.

    Where the rows lack a class, scikit-learn asks for the names of all, which the estimator knows: the log-loss then is
    what it is, and the area under a curve NaN, with a warning.
    """
    try:
        return float(scorer(estimator, X, y, **weights))
    except ValueError:
        classes = getattr(estimator, "classes_", None)
        if classes is None or not hasattr(scorer, "set_score_request"):  # which scikit-learn's scorers have
            raise
        try:
            with config_context(enable_metadata_routing=True):  # which is what lets ``labels`` through
                return float(scorer(estimator, X, y, labels=classes, **weights))
        except (TypeError, ValueError):
            pass
        raise


def _weights(scorer: Any, scoring: Any, weight: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the weights of rows as an argument of a scorer, or raise where it takes none."""
    if weight is None:
        return {}
    parameters = signature(scorer).parameters
    if "sample_weight" not in parameters and all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        raise ValueError(
            f"scoring={scoring!r} takes no sample_weight, but the rows are weighted: give it that parameter, or "
            "make it with sklearn.metrics.make_scorer."
        )
    return {"sample_weight": weight}


class _Known(BaseEstimator):
    """Stands in for an estimator whose predictions are known already."""

    def __init__(self, prediction: Any = None, task: str = "regression"):
        self.prediction = prediction
        self.task = task

    def fit(self, X: Any, y: Any = None) -> _Known:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _KnownClassifier(ClassifierMixin, _Known):
    """Has probabilities that are known already, and the classes or labels that follow from them."""

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.prediction.shape[1])

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.prediction

    def predict(self, X: Any) -> np.ndarray:
        if self.task == "multilabel":
            return (self.prediction > 0.5).astype(np.int64)
        return self.prediction.argmax(axis=1)


class _KnownRegressor(RegressorMixin, _Known):
    """Has values that are known already."""

    def predict(self, X: Any) -> np.ndarray:
        return self.prediction
