"""Members of a pool in one frame: their units matched."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from skfusion._rows import Rows
from skfusion.align import Aligner
from skfusion.estimators.support._members import check_one_code
from skfusion.nets import Runner
from skfusion.objective import Objective
from skfusion.pool import ModelPool
from skfusion.symmetry import Symmetry, reasons
from skfusion.tracing import symmetry_of

_EXAMPLE = 4
"""Rows that an architecture is traced on."""


def align_members(
    align: Aligner, pool: ModelPool, rows: Rows, runner: Runner, objective: Objective
) -> tuple[ModelPool, Symmetry, dict[str, Any]]:
    """Return the pool with its members in one frame, the units that may change places, and by member where they went.

    Parameters
    ----------
    align : Aligner
        How units are matched.
    pool : ModelPool
        Members of one architecture, on the device of the runner.
    rows : Rows
        Some of them are what the architecture is traced on.
    runner : Runner
        The architecture.
    objective : Objective
        Data to compare activations on.
    """
    check_one_code(pool)
    symmetry = symmetry_of(runner.module, next(runner.chunks(rows.take(np.arange(min(_EXAMPLE, len(rows)))).X)))
    if not symmetry.groups:
        why = reasons(symmetry.notes, symmetry.pinned)
        warnings.warn(
            f"No units of {type(runner.module).__name__} can change places, so its members stay in frames of their "
            f"own and align={align!r} does nothing. symmetry_.describe() says why: {why}.",
            stacklevel=2,
        )
    perms = align.frame(pool.states, symmetry, objective)
    moved = [m.replace(state=symmetry.permute(p, m.state)) for m, p in zip(pool, perms, strict=True)]
    return pool.replace(moved), symmetry, dict(zip(pool.names, perms, strict=True))
