"""Members from a study of Optuna, whose objective has handed over what it fitted."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from skfusion.pool._member import Member
from skfusion.pool.importers._kept import note, of_one_kind, opened

_STATES = {"PRUNED": "they were pruned", "FAIL": "they have failed", "RUNNING": "they are running"}


def name_of_trial(study_name: str, trial: Any) -> str:
    """Return the name of a trial's member in a store: no other study has it, not one of the same name either."""
    begun = hashlib.sha256(str(trial.datetime_start).encode()).hexdigest()[:8]
    return f"{study_name}-{trial.number}-{begun}"


def from_study(study: Any, store: Any, net: Any) -> tuple[list[Member], np.ndarray | None]:
    """Return members and classes; see :meth:`ModelPool.from_study`."""
    if not (hasattr(study, "get_trials") and hasattr(study, "study_name")):
        raise TypeError(f"from_study takes a study of Optuna; got a {type(study).__name__}.")
    place, trials = opened(store), study.get_trials(deepcopy=False)
    names, members, left_out = {*place.names()}, [], {}
    for trial in trials:
        called, name = f"trial-{trial.number}", name_of_trial(study.study_name, trial)
        if trial.state.name != "COMPLETE":
            left_out[called] = _STATES.get(trial.state.name, "they were not run")
        elif name not in names:
            left_out[called] = "they handed over no network: keep.member(trial, net)"
        else:
            member = place.get(name)
            members.append(member.replace(name=called, net=member.net if net is None else net))
    if not members:
        raise ValueError(_nothing(study, trials, place, names))
    members, classes, others = of_one_kind(members)
    note(f"{len(trials)} trials of the study {study.study_name!r}", left_out | others)
    return members, classes


def _nothing(study: Any, trials: list[Any], place: Any, names: set[str]) -> str:
    if not any(trial.state.name == "COMPLETE" for trial in trials):
        return f"The study {study.study_name!r} has no trial that is complete: run study.optimize first."
    others = f" It has {len(names)} members that are not of this study, such as {min(names)!r}." if names else ""
    return (
        f"{place!r} has no member of the study {study.study_name!r}.{others} Call keep.member(trial, net) in the "
        "objective, and study.optimize(objective, callbacks=[keep]) with keep = KeepTrials(store)."
    )
