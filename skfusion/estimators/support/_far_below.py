"""A merged network that is far below its members is worth a warning, whatever merged it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skfusion._caller import warn_caller
from skfusion._rows import Rows, Task
from skfusion.nets import Judge, Runner, default_score
from skfusion.state import State

_ROWS = 1000
"""Rows that are looked at, at most."""

_MEMBERS = 4
"""Members that are looked at, at most."""

_FEWEST = 20
"""Rows below which a score says too little."""

_SKILL = 0.2
"""What members must have learned, at least; below, there is nothing to lose."""

_KEPT = 0.5
"""Share of the weakest member's skill that a merged network must keep."""


class FarBelowWarning(UserWarning):
    """A merged network scores far below all of its members."""


def warn_if_far_below(
    state: State, members: Sequence[State], runner: Runner, rows: Rows, task: Task, aligned: bool
) -> None:
    r"""Warn where a network scores far below its members.

    Scores are counted from what a constant prediction reaches, c: the merged network is far below where it has less
    than half of the skill of the weakest member, :math:`s - c < (\min_k s_k - c) / 2`, and by more than chance makes of
    so many rows.

    Parameters
    ----------
    state : State
        The merged network.
    members : sequence of State
        Its members, on the device of the runner; four of them are looked at, at most.
    runner : Runner
        The architecture.
    rows : Rows
        Labelled rows, of which a thousand are looked at, at most.
    task : {"classification", "multilabel", "regression"}
        What the predictions are.
    aligned : bool
        Whether the members are aligned already.
    """
    if len(members) < 2 or len(rows) < _FEWEST:
        return
    some = rows.take(np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int))
    asked = [members[k] for k in np.unique(np.linspace(0, len(members) - 1, _MEMBERS).astype(int))]
    merged, *own = Judge(runner, some, some, default_score(task)).scores([state, *asked])
    trivial = _of_a_constant(some, task)
    lost = min(own) - trivial
    chance = 3 / np.sqrt(len(some))  # three standard errors of a share, at most
    if not (np.isfinite(own).all() and lost > max(_SKILL, chance) and not merged - trivial >= _KEPT * lost):
        return
    name = "R2" if task == "regression" else "accuracy"
    ensemble = "EnsembleRegressor" if task == "regression" else "EnsembleClassifier"
    remedy = "" if aligned else "match their units first (align=WeightMatching()), "
    warn_caller(
        f"The merged network scores {merged:.3g} on {len(some)} rows, and its members {min(own):.3g} to {max(own):.3g} "
        f"({name}), as where barriers lie between members, which is the rule for networks that did not start from the "
        f"same weights. To keep what they have learned, {remedy}merge those that help (merge=Greedy()), or combine "
        f"their predictions ({ensemble}).",
        FarBelowWarning,
    )


def _of_a_constant(rows: Rows, task: Task) -> float:
    """Return the score of the best prediction that is the same for all rows."""
    if task == "regression":
        return 0.0
    _, code = np.unique(rows.y, axis=0, return_inverse=True)
    shares = np.bincount(code.ravel(), rows.weight)
    return float(shares.max() / shares.sum())
