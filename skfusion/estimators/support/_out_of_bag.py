"""Out-of-bag predictions: those for rows by the members that were not trained on them (Breiman, 1996)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import check_is_fitted

from skfusion._rows import Rows
from skfusion.data import rows_as_given, score_function
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleDriver, EnsembleRegressor
from skfusion.estimators.support._any_kind import all_networks, predicts_values
from skfusion.pool import Member, ModelPool


@dataclass(frozen=True, eq=False)
class OutOfBag:
    """Predictions for rows by the members that were not trained on them.

    ``prediction``, the mean of their probabilities or values, has the shape (n_samples, n_outputs); it is NaN for rows
    that all were trained on, or of weight zero. ``n_members`` counts them for each row. ``score`` is over the others.
    """

    prediction: np.ndarray
    n_members: np.ndarray
    score: float


def out_of_bag(
    fitted: Any, X: Any, y: Any, sample_weight: Any = None, scoring: Any = None, groups: Any = None
) -> OutOfBag:
    """Predict each row of the training data by the members that were not trained on it.

    The score is an estimate of that on new rows which costs no rows and no training.

    Parameters
    ----------
    fitted : estimator or ModelPool
        A fitted ensemble, or a pool whose networks carry their nets; such as of ``collect=Bootstrap()``.
    X, y : array-like
        The data of ``fit``.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the rows in the score.
    scoring : str or callable, optional
        The score; accuracy or R2 when omitted.
    groups : array-like of shape (n_samples,), optional
        The groups of ``fit``. A row is predicted by members that were trained on no row of its group.

    Returns
    -------
    OutOfBag
        Predictions and their score.

    Raises
    ------
    ValueError
        If each member was trained on each row, its inputs or its group, or it is unknown what a member was trained on.

    Notes
    -----
    Rows are known by their values. Of rows with equal inputs all count as trained on where one was. Costs one
    prediction of all rows by all members. Predictions are averaged whatever the combiner; with dropout, over the
    passes.

    References
    ----------
    Breiman, "Out-of-bag estimation", technical report, University of California, Berkeley, 1996.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleClassifier, out_of_bag
    >>> from skfusion.collect import Bootstrap
    >>> X, y = load_iris(return_X_y=True)
    >>> bags = EnsembleClassifier(collect=Bootstrap(10), random_state=0).fit(X, y)
    >>> out_of_bag(bags, X, y).score > 0.9
    True
    """
    out = predicted_out_of_bag(_ensemble(fitted, X, y), X, y, sample_weight, scoring, groups)
    if not out.n_members.any():
        raise ValueError(
            "Every member was trained on every row, or on one with its inputs or of its group, so no row has an "
            "out-of-bag prediction. Collect members on samples of the rows: Bootstrap(). Where they are, there are "
            "few different inputs or groups: draw less of them, by its max_samples, or keep rows to score on."
        )
    return out


def predicted_out_of_bag(
    ensemble: EnsembleDriver, X: Any, y: Any, sample_weight: Any, scoring: Any, groups: Any
) -> OutOfBag:
    """Return the out-of-bag predictions of a fitted ensemble; their score is NaN where there are none."""
    n = len(np.asarray(y))
    rows = clone(ensemble)._rows(X, y, sample_weight, groups, pool=ensemble.pool_)
    members = ensemble.members_
    if unknown := [m.name for m in members if m.rows is None]:
        raise ValueError(
            f"It is unknown what member {unknown[0]!r} was trained on. Give it with the pool: "
            "ModelPool.from_estimators(nets, X, y), or train the members with a collector."
        )
    position = np.arange(n) if rows.position is None else rows.position
    unseen = _unseen(rows, members)
    n_members = unseen.sum(axis=0)
    P = ensemble._member_predictions(rows.X)
    if len(P) != len(members):  # of one with dropout, there are several passes in a row
        P = P.reshape(len(members), -1, *P.shape[1:]).mean(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.einsum("kno,kn->no", P, unseen, dtype=np.float64) / n_members[:, None]
    known = np.flatnonzero(n_members)
    score = np.nan
    if len(known):
        rows = rows_as_given(ensemble._outputs.rows(rows.take(known)))
        score = score_function(scoring, ensemble._task)(mean[known].astype(P.dtype), rows)
    prediction, counts = np.full((n, P.shape[2]), np.nan, P.dtype), np.zeros(n, np.int64)
    prediction[position], counts[position] = mean, n_members
    return OutOfBag(prediction, counts, score)


def _unseen(rows: Rows, members: list[Member]) -> np.ndarray:
    """Return whether a member was not trained on a row, its inputs or its group, shape (n_members, n_samples)."""
    trained = np.array([rows.seen(m.rows, inputs=True) for m in members])
    seen = trained.copy()
    for names in [rows.input_keys] if rows.groups is None else [rows.input_keys, rows.groups]:
        unit = np.unique(names, return_inverse=True)[1]
        for seen_by_member, bag in zip(seen, trained, strict=True):
            seen_by_member |= (np.bincount(unit, bag) > 0)[unit]
    return ~seen


def _ensemble(fitted: Any, X: Any, y: Any) -> EnsembleDriver:
    """Return a fitted ensemble of the members, which predicts with each of them."""
    if isinstance(fitted, EnsembleDriver):
        check_is_fitted(fitted)
        return fitted
    if not isinstance(fitted, ModelPool):
        raise TypeError(
            "out_of_bag needs a fitted ensemble of networks, such as EnsembleClassifier, or a ModelPool; got "
            f"{fitted!r}."
        )
    if not all_networks(fitted):
        return (EnsembleRegressor if predicts_values(fitted) else EnsembleClassifier)().fuse(fitted, X, y)
    if fitted[0].net is None:
        raise ValueError(
            "The pool has no net, as it comes from a file: fuse it first, "
            "EnsembleClassifier(net).fuse(pool, X, y), and give that."
        )
    kind = EnsembleClassifier if is_classifier(fitted[0].net) else EnsembleRegressor
    return kind().fuse(fitted, X, y)
