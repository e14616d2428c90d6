"""Members of a pool with their units matched to one another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from skfusion._rows import Rows
from skfusion.align import Aligner, Alignment
from skfusion.nets import Runner
from skfusion.objective import Objective, Wrapper
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate
from skfusion.state import State
from skfusion.symmetry import Symmetry, reasons
from skfusion.tracing import symmetry_of


def align_members(
    align: Aligner, pool: ModelPool, rows: Rows, runner: Runner, objective: Objective
) -> tuple[ModelPool, Symmetry | None, dict[str, Alignment]]:
    """Return the pool aligned, the symmetry (None where none is needed), and each member's alignment by name.

    The common start of the members moves with the first of them, which some aligners move, too.
    """
    _check_one_code(pool)
    symmetry = None
    if align.needs_symmetry:
        few = rows.take(np.arange(min(4, len(rows))))
        symmetry = symmetry_of(runner.module, next(runner.chunks(few.X)), general=align.needs_general)
        if not symmetry.groups:
            why = reasons(symmetry.notes, symmetry.pinned)
            warnings.warn(
                f"No units of {type(runner.module).__name__} can change places, so align={align!r} leaves its members "
                f"as they are. symmetry_.describe() says why: {why}.",
                stacklevel=2,
            )
    judge = _Recalibrated(objective, pool.states) if align.needs_labels else objective
    alignments = align.align_all(pool.states, symmetry, judge)
    moved = [m.replace(state=alignment.apply(m.state)) for m, alignment in zip(pool, alignments, strict=True)]
    base = None if pool.base is None else alignments[0].apply(pool.base)
    return pool.replace(moved, base=base), symmetry, dict(zip(pool.names, alignments, strict=True))


class _Recalibrated(Wrapper):
    """An objective that judges states with the statistics of BatchNorm estimated again."""

    def __init__(self, objective: Objective, members: Sequence[State]):
        super().__init__(objective)
        self._members = members

    def judged(self, state: State) -> State:
        return Recalibrate()(self.whole(state), self._members, self.objective)


def _check_one_code(pool: ModelPool) -> None:
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
