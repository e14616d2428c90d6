"""Members that are trained again on all rows, once a fusion has chosen on held-out ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skfusion._caller import warn_caller
from skfusion.pool import ModelPool


def check_refit(collect: Any) -> None:
    """Raise where members cannot be trained again as they were, which ``refit`` asks for."""
    if isinstance(collect, ModelPool):
        raise ValueError(
            "refit=True trains the members again on all rows, and collect is a pool, which has networks and not how "
            "they were trained: give a collector, or refit=False."
        )
    if getattr(collect, "follows_results", False):
        raise ValueError(
            f"refit=True trains the members again, and {collect!r} proposes settings by what came of those before, so "
            "that on all rows members of the same names would be others: give distributions, or refit=False."
        )


def with_scores_of(pool: ModelPool, again: ModelPool) -> ModelPool:
    """Return members that were trained again, with the held-out scores and predictions of those of the same names."""
    known = {m.name: m for m in pool}
    both = [(m, known.get(m.name)) for m in again]
    return again.replace(
        [m if old is None else m.replace(score=old.score, predictions=old.predictions) for m, old in both]
    )


def shares_again(shares: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Return the shares of the members that are there again, which replace what others had that are not.

    How many checkpoints early stopping leaves depends on the rows. Where none is there that had a share, or shares are
    negative, so that they cannot replace each other, all are returned, of which :func:`chosen_among` names one.
    """
    left = {name: share for name, share in shares.items() if name in names}
    lost = [name for name, share in shares.items() if share and name not in left]
    if not lost:
        return left
    if not (total := sum(left.values())) or min(shares.values()) < 0:
        return dict(shares)
    warn_caller(
        f"The training on all rows has left no member {lost[0]!r}{' and others' * (len(lost) > 1)}, as early stopping "
        f"has ended it sooner than the one before: the soup is made of the other members that were chosen, "
        f"{[name for name, share in left.items() if share]}. Let it wait longer, or give refit=False.",
        UserWarning,
    )
    scale = sum(shares.values()) / total
    return {name: share * scale for name, share in left.items()}


def chosen_among(pool: ModelPool, names: list[str]) -> ModelPool:
    """Return the members that were chosen, or raise where the training on all rows has not left one of them."""
    if missing := [name for name in names if name not in pool.names]:
        raise ValueError(
            f"Member {missing[0]!r} was chosen, and the training on all rows has left {pool.names}: how many members "
            "early stopping keeps depends on the rows. Train without it, or give refit=False."
        )
    return pool[names]
