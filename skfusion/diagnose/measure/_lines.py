"""What lies between members of one architecture, and in their middle: as they are, and aligned."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from skfusion.align import ActivationMatching, MergeMany, WeightMatching
from skfusion.diagnose.measure._paired import ByRow
from skfusion.evaluate import WAYS, PoolOnData, statistics_of_inner_points
from skfusion.landscape import Profile, loss_along, segment
from skfusion.merge import Uniform
from skfusion.repair import Recalibrate, Repair
from skfusion.state import State
from skfusion.symmetry import Symmetry, reasons
from skfusion.tangent import Linearised
from skfusion.tracing import symmetry_of

ALIGNED = tuple(WAYS)[2:]


class Units(NamedTuple):
    """Hidden units that may change places."""

    symmetry: Symmetry | None = None
    reason: str = ""  # why there are none
    notes: Sequence[str] = ()


class Judged(NamedTuple):
    """Loss and score of a network on all rows, and what each row adds to the score, where it is a mean over rows."""

    loss: float
    score: float
    rows: np.ndarray | None


def units_of(data: PoolOnData) -> Units:
    """Return the units of an architecture that may change places."""
    module = data.runner.module
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            symmetry = symmetry_of(module, data.example())
        except (ValueError, RuntimeError, NotImplementedError) as error:
            return Units(reason=f"the symmetry of {type(module).__name__} was not found: {error}")
    notes = [str(w.message) for w in caught]
    if symmetry.groups:
        return Units(symmetry, "", notes)
    why = reasons(symmetry.notes, symmetry.pinned) or "it has no hidden layer"
    return Units(None, f"no units of {type(module).__name__} can change places: {why}", notes)


def profiles_of(
    a: State, b: State, data: PoolOnData, symmetry: Symmetry | None, n_points: int, random_state: int
) -> dict[str, Profile]:
    """Return loss and score along the line between two states, by each of :data:`WAYS` that there is.

    It is the same object twice where two ways are one: with BatchNorm, Repair is recalibration, and without it there is
    nothing to recalibrate.
    """
    objective = data.objective
    recalibrate = statistics_of_inner_points(objective.module)
    line = loss_along(segment(a, b), objective, n_points, recalibrate)
    lines = {"raw": line, "line": line}
    if data.has_batch_norm:  # statistics as plain averaging leaves them
        lines["raw"] = loss_along(segment(a, b), objective, n_points, lambda state, _members, _objective: state)
    aligners = {"weights": WeightMatching(random_state=random_state), "activations": ActivationMatching()}
    for name, aligner in aligners.items() if symmetry is not None else ():
        path = segment(a, aligner(b, a, symmetry, objective).apply(b))
        lines[name] = lines[f"{name}_repair"] = loss_along(path, objective, n_points, recalibrate)
        if _repairs(objective.module):
            lines[f"{name}_repair"] = loss_along(path, objective, n_points, Repair())
    return lines


def soups_of(
    states: Sequence[State], data: PoolOnData, symmetry: Symmetry | None, random_state: int, by_row: ByRow | None
) -> dict[str, Judged]:
    """Return loss and score of the mean of states, by each of :data:`WAYS` that there is."""
    objective = data.objective
    plain = Uniform()(states)
    made = {"raw": plain, "line": Recalibrate()(plain, states, objective)}
    aligners = {"weights": MergeMany(random_state=random_state), "activations": ActivationMatching()}
    for name, aligner in aligners.items() if symmetry is not None else ():
        alignments = aligner.align_all(states, symmetry, objective)
        moved = [alignment.apply(state) for alignment, state in zip(alignments, states, strict=True)]
        soup = Uniform()(moved)
        made[name] = made[f"{name}_repair"] = Recalibrate()(soup, moved, objective)
        if _repairs(objective.module):
            made[f"{name}_repair"] = Repair()(soup, moved, objective)
    results = (judged(out, data, by_row) for out in data.objective.outputs(made.values()))
    return dict(zip(made, results, strict=True))


def judged(out: Tensor, data: PoolOnData, by_row: ByRow | None) -> Judged:
    """Return loss and score of the output for all rows, and what each row adds to the score."""
    rows = None if by_row is None else by_row(data.predictions(out), data.rows)
    return Judged(*data.objective.of_output(out), rows)


def key_of(way: str) -> str:
    """Return the name of the soup by one of :data:`WAYS` among the scores of the pool."""
    return "soup" if way == "line" else f"soup_{way}"


def _repairs(module: nn.Module) -> bool:
    """Return whether Repair is anything else than recalibration: it is that where there is BatchNorm.

    Tangent networks are linear in their weights, so that a mean needs no repair.
    """
    if any(isinstance(m, Linearised) for m in module.modules()):
        return False
    norms = (m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return all(m.running_mean is None for m in norms)
