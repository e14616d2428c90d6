"""What a soup asks of its members before it merges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skfusion._rows import Rows
from skfusion.pool import ModelPool

_MOST = 0.5
"""Share of a member's training rows above which those at hand represent all of them, as in cross-validation."""


def check_pool(pool: Any) -> None:
    """Raise an error that says how other things become a pool."""
    if not isinstance(pool, ModelPool):
        raise TypeError(
            f"fuse takes a ModelPool; got {type(pool).__name__}. Fitted nets become a pool by "
            "ModelPool.from_estimators(nets)."
        )


def rows_of_members(pool: ModelPool, rows: Rows) -> list[np.ndarray]:
    """Return which of the rows each member was trained on; nothing where all rows are for all members.

    That is where members were trained on the same rows, or where most training rows of some member are not among the
    rows, or unknown: a few that are, by chance or in a fresh sample, say less of the member than all rows do. Rows are
    known by their inputs where their targets are others, as those of a net whose classes have other codes.
    """
    if any(m.rows is None for m in pool):
        return []
    for by_inputs in (False, True):
        positions = [np.flatnonzero(rows.seen(m.rows, by_inputs)) for m in pool]
        if all(len(np.unique(rows.marks[i])) > _MOST * len(m.rows) for i, m in zip(positions, pool, strict=True)):
            return [] if all(np.array_equal(index, positions[0]) for index in positions) else positions
    return []


def reported_shares(report: Mapping[str, Any], names: Sequence[str]) -> dict[str, float] | None:
    """Return the share of each member by name, where a merger reports weights: the mean of those by layer."""
    weights = report.get("weights")
    if weights is None:
        return None
    shares = np.mean([*weights.values()], axis=0) if isinstance(weights, Mapping) else np.asarray(weights)
    return dict(zip(names, shares.tolist(), strict=True))


def check_one_code(pool: ModelPool) -> None:
    """Raise where members that have tensors of the same names compute with them in other ways."""
    first, *others = [(m.name, _kinds(m.net.module)) for m in pool if m.net is not None] or [("", {})]
    for name, kinds in others:
        if differing := [part for part in {**first[1], **kinds} if first[1].get(part) is not kinds.get(part)]:
            a, b = (getattr(parts.get(differing[0]), "__name__", "nothing") for parts in (first[1], kinds))
            raise ValueError(
                f"Members {first[0]!r} and {name!r} have tensors of the same names and different code: {a} and {b} at "
                f"{differing[0] or 'the top'!r}. Their units cannot be matched. Combine their predictions instead: "
                "EnsembleClassifier, EnsembleRegressor, StackingFusion."
            )


def _kinds(module: Any) -> dict[str, type]:
    return {"": module} if isinstance(module, type) else {name: type(m) for name, m in module.named_modules()}
