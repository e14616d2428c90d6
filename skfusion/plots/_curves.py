"""Curves that an estimator has trained, on data that is given later."""

from __future__ import annotations

from typing import Any

from skfusion.connect import Subspace
from skfusion.evaluate import PoolOnData, pool_on_data
from skfusion.plots._frames import fitted


def curve_of(
    estimator: Any, X: Any, y: Any, pair: Any = None, scoring: Any = None
) -> tuple[tuple[str, str], PoolOnData, Subspace]:
    """Return the names of the ends of a curve, its members on some rows, and the curve on the device of their net.

    Parameters
    ----------
    estimator : fitted CurveClassifier or CurveRegressor
        Has the curves.
    X, y : array-like
        Rows that no member was trained on.
    pair : pair of str, optional
        The members at the ends, in either order; those of the first curve when omitted.
    scoring : str or callable, optional
        The score; that of the estimator when omitted.
    """
    curves = fitted(estimator, "curves_", "a fitted CurveClassifier or CurveRegressor")
    names = next(iter(curves)) if pair is None else tuple(pair)
    if names not in curves and names[::-1] not in curves:
        raise ValueError(f"There is no curve between {names}; there are {[*curves]}.")
    names = names if names in curves else names[::-1]
    curve = curves[names]
    data = pool_on_data(
        estimator.pool_[[*names]],
        X,
        y,
        estimator,
        estimator.scoring if scoring is None else scoring,
        "to evaluate the networks along a curve",
        states=curve.controls,
    )
    return names, data, Subspace(data.states, curve.basis, curve.history, curve.own_ends)
