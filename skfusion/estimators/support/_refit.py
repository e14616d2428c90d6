"""Members that are trained again on all rows, once a fusion has chosen on held-out ones."""

from __future__ import annotations

from typing import Any

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


def chosen_among(pool: ModelPool, names: list[str]) -> ModelPool:
    """Return the members that were chosen, or raise where the training on all rows has not left one of them."""
    if missing := [name for name in names if name not in pool.names]:
        raise ValueError(
            f"Member {missing[0]!r} was chosen, and the training on all rows has left {pool.names}: how many members "
            "early stopping keeps depends on the rows. Train without it, or give refit=False."
        )
    return pool[names]
