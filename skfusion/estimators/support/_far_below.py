"""A merged network that scores far below its members, as where barriers lie between them, is warned of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skfusion._caller import warn_caller
from skfusion._rows import Rows, Task
from skfusion.estimators.support._widths import differ_in_width, runners_of
from skfusion.merge import Merger
from skfusion.nets import Judge, Runner, default_score
from skfusion.state import State

_FEWEST, _ROWS, _MEMBERS = 20, 1000, 4
"""Rows below which a score says too little, and the rows and the members that are looked at, at most."""
_SKILL, _KEPT = 0.2, 0.5
"""What members must have learned, so that there is something to lose, and the share of it that must be kept."""


class FarBelowWarning(UserWarning):
    """A merged network scores far below all of its members."""


def warn_if_far_below(
    state: State,
    members: Sequence[State],
    runner: Runner,
    rows: Rows,
    task: Task,
    aligned: bool,
    merge: Merger,
    merged_runner: Runner | None = None,
) -> None:
    """Warn where a merged network has less than half of the skill of its weakest member, by more than chance makes.

    Skill counts from the score of a constant prediction. A few members and rows are looked at.
    """
    if len(members) < 2 or len(rows) < _FEWEST:
        return
    some = rows.take(np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int))
    some_members = [members[k] for k in np.unique(np.linspace(0, len(members) - 1, _MEMBERS).astype(int))]
    score = default_score(task)
    by_runner: dict[Runner, list[State]] = {merged_runner or runner: [state]}
    for member, own in zip(some_members, runners_of(some_members, runner, some), strict=True):
        if own is not None:
            by_runner.setdefault(own, []).append(member)
    judged = [Judge(own, some, some, score).scores(states) for own, states in by_runner.items()]
    merged, *scores = [s for of_runner in judged for s in of_runner]
    if not scores:
        return
    trivial = _of_a_constant(some, task)
    lost = min(scores) - trivial
    chance = 3 / np.sqrt(len(some))  # three standard errors of a share, at most
    if not (np.isfinite(scores).all() and lost > max(_SKILL, chance) and not merged - trivial >= _KEPT * lost):
        return
    name, ensemble = ("R2", "EnsembleRegressor") if task == "regression" else ("accuracy", "EnsembleClassifier")
    remedies = [] if aligned or merge.takes_widths else ["match their units first (align=WeightMatching())"]
    if merge.takes_widths:  # which matches units by itself
        remedies.append("train the network on (estimator_.partial_fit(X, y))")
    if not differ_in_width(members):  # those that choose judge members of one width
        remedies.append("merge those that help (merge=Greedy())")
    warn_caller(
        f"The merged network scores {merged:.3g} on {len(some)} rows, and its members {min(scores):.3g} to "
        f"{max(scores):.3g} ({name}), as where barriers lie between members, which is the rule for networks that did "
        f"not start from the same weights. To keep what they have learned, {', '.join(remedies)}, or combine their "
        f"predictions ({ensemble}).",
        FarBelowWarning,
    )


def _of_a_constant(rows: Rows, task: Task) -> float:
    """Return the score of the best prediction that is the same for all rows."""
    if task == "regression":
        return 0.0
    _, code = np.unique(rows.y, axis=0, return_inverse=True)
    shares = np.bincount(code.ravel(), rows.weight)
    return float(shares.max() / shares.sum())
