"""Members in one frame, and what displays refuse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sklearn.utils.validation import check_is_fitted

from skfusion.align import Aligner
from skfusion.evaluate import PoolOnData
from skfusion.pool import Member, ModelPool
from skfusion.state import State


def aligned(align: Any, data: PoolOnData, pool: ModelPool) -> list[State]:
    """Return the states of some members in one frame; they compute what the members compute.

    Parameters
    ----------
    align : Aligner
        How their units are matched.
    data : PoolOnData
        The members on some rows.
    pool : ModelPool
        The members themselves.
    """
    if not isinstance(align, Aligner):
        raise TypeError(f"align must be an Aligner, such as WeightMatching(); got {align!r}.")
    return data.aligned(align, pool)


def chosen(pool: ModelPool, members: Iterable[Any], least: int, purpose: str) -> list[Member]:
    """Return members by position or name, or raise ``ValueError`` where there are too few of them.

    Parameters
    ----------
    pool : ModelPool
        Has them.
    members : iterable of int or str
        Positions or names.
    least : int
        How many are needed.
    purpose : str
        What needs them.
    """
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
