"""Let a trial choose members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skfusion.select import Pick


def suggest_members(trial: Any, names: Sequence[str | int], min_members: int = 1) -> Pick:
    """Return a selector of the members that a trial of Optuna chooses.

    Parameters
    ----------
    trial : optuna.trial.Trial
        Suggests for each member whether to take it, under the name ``"member-" + name``.
    names : sequence of str or int
        Names of members, or their positions.
    min_members : int, default=1
        Where fewer are chosen, the first of the others join until there are so many.

    Returns
    -------
    Pick
        For the parameter ``select`` of an estimator.

    Examples
    --------
    >>> from optuna.trial import FixedTrial
    >>> from skfusion.tuning import suggest_members
    >>> trial = FixedTrial({"member-a": True, "member-b": False, "member-c": True})
    >>> suggest_members(trial, ["a", "b", "c"])
    Pick(members=('a', 'c'))
    """
    names = list(names)
    if not 1 <= min_members <= len(names):
        raise ValueError(f"min_members must be from 1 to the number of members, {len(names)}; got {min_members}.")
    chosen = [name for name in names if trial.suggest_categorical(f"member-{name}", [True, False])]
    chosen += [name for name in names if name not in chosen][: max(0, min_members - len(chosen))]
    return Pick(tuple(name for name in names if name in chosen))
