"""A warning where a merged network scores far below its members, whatever merged it."""

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
    state: State,
    members: Sequence[State],
    runner: Runner,
    rows: Rows,
    task: Task,
    aligned: bool,
    own_runner: Runner | None = None,
) -> None:
    r"""Warn where a network scores far below its members.

    Scores are counted from what a constant prediction reaches, c: the merged network is far below where it has less
    than half of the skill of the weakest member, :math:`s - c < (\min_k s_k - c) / 2`, and by more than chance makes of
    so many rows. The members are on the device of the runner; a few members and rows are looked at. Where the members
    are ``aligned`` already, the message does not ask for it; ``own_runner`` is the architecture of the merged network,
    where the merger changed it.
    """
    if len(members) < 2 or len(rows) < _FEWEST:
        return
    some = rows.take(np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int))
    some_members = [members[k] for k in np.unique(np.linspace(0, len(members) - 1, _MEMBERS).astype(int))]
    score = default_score(task)
    if own_runner is None or own_runner is runner:
        merged, *scores = Judge(runner, some, some, score).scores([state, *some_members])
    else:
        (merged,) = Judge(own_runner, some, some, score).scores([state])
        scores = Judge(runner, some, some, score).scores(some_members)
    trivial = _of_a_constant(some, task)
    lost = min(scores) - trivial
    chance = 3 / np.sqrt(len(some))  # three standard errors of a share, at most
    if not (np.isfinite(scores).all() and lost > max(_SKILL, chance) and not merged - trivial >= _KEPT * lost):
        return
    name = "R2" if task == "regression" else "accuracy"
    ensemble = "EnsembleRegressor" if task == "regression" else "EnsembleClassifier"
    remedy = "" if aligned else "match their units first (align=WeightMatching()), "
    warn_caller(
        f"The merged network scores {merged:.3g} on {len(some)} rows, and its members {min(scores):.3g} to "
        f"{max(scores):.3g} "
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
