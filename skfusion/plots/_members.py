"""What a display asks of a pool or of a fitted estimator: members and trained curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sklearn.utils.validation import check_is_fitted

from skfusion.connect import Path
from skfusion.evaluate import PoolOnData, pool_on_data
from skfusion.pool import Member, ModelPool


def chosen(pool: ModelPool, members: Iterable[Any], least: int, purpose: str) -> list[Member]:
    """Return members by position or name; ``purpose`` needs at least so many of them."""
    asked = [*members]
    if len(asked) < least:
        raise ValueError(f"{purpose} needs {least} members; got members={asked!r}.")
    try:
        return [pool[m] for m in asked]
    except IndexError as error:
        raise ValueError(
            f"{purpose} needs {least} members; members={asked!r} asks for one that the pool lacks, as it has "
            f"{len(pool)}: {pool.names}."
        ) from error


def fitted(estimator: Any, attribute: str, hint: str) -> Any:
    """Return an attribute of a fitted estimator, or raise ``TypeError`` where it is of another kind."""
    check_is_fitted(estimator)
    if not hasattr(estimator, attribute):
        raise TypeError(f"{type(estimator).__name__} has no {attribute}: give {hint}.")
    return getattr(estimator, attribute)


def curve_of(
    estimator: Any, X: Any, y: Any, pair: Any = None, scoring: Any = None
) -> tuple[tuple[str, str], PoolOnData, Path]:
    """Return the names of the ends of a trained curve, its controls on some rows, and the curve on their device."""
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
    return names, data, curve.replace(controls=data.states)
