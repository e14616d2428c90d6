"""Scorers by name: which there are, and whether they can score a target, found out before anything is trained."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from skfusion.cli._sources import DataError
from skfusion.data import get_scorer, scorer_names

USUAL = {
    "classification": "accuracy, balanced_accuracy, f1_macro, neg_log_loss, neg_brier_score, neg_ece, roc_auc_ovr",
    "regression": "r2, neg_root_mean_squared_error, neg_mean_absolute_error",
}


def checked(names: Sequence[str], y: np.ndarray, task: str) -> list[str]:
    """Return the names without repetition; raise where one is unknown, or its scorer cannot score the target."""
    for name in names:
        if name not in scorer_names():
            near = near_matches(name, task)
            meant = f"did you mean {' or '.join(near)}?" if near else f"usual ones are {USUAL[task]}."
            raise DataError(
                f"--scoring {name} is unknown; {meant} All are in sklearn.metrics.get_scorer_names(), but for neg_ece."
            )
        if task_of(name) != task:
            raise DataError(f"--scoring {name} is for {task_of(name)}, and this is {task}: take {USUAL[task]}, ...")
        if wrong := what_is_wrong(name, y, task):
            others = [n for n in scorer_names() if n.startswith(f"{name}_") and not what_is_wrong(n, y, task)]
            raise DataError(
                f"--scoring {name} cannot score this target: {wrong} Take {', '.join(others) or USUAL[task]}."
            )
    return [*dict.fromkeys(names)]


def near_matches(name: str, task: str) -> list[str]:
    """Return names of scorers of a task that are like one, or contain it, or have its letters as initials, as rmse."""
    known, name = [known for known in scorer_names() if task_of(known) == task], name.lower()
    short = {k: "".join(word[0] for word in k.removeprefix("neg_").split("_")) for k in known}
    exact = [k for k in known if name == short[k] or (len(name) > 2 and name in k)]
    return [*dict.fromkeys([*exact, *get_close_matches(name, known, 3, 0.6)])][:5]


@cache
def task_of(name: str) -> str:
    """Return the task of a scorer: regression where it takes numbers with fractions without complaint."""
    y = np.array([0.5, 1.5, 2.25, 3.0])
    return "classification" if what_is_wrong(name, y, "regression", strict=True) else "regression"


def what_is_wrong(name: str, y: np.ndarray, task: str, strict: bool = False) -> str:
    """Return why a scorer cannot score predictions of a target, in one sentence; empty where it can.

    With ``strict`` warnings count.
    """
    X = np.zeros((len(y), 1))
    model: Any = DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            score = get_scorer(name)(model.fit(X, y), X, y)
        except Exception as error:  # of any kind: scorers differ in what they raise
            return f"{str(error).strip().splitlines()[0].rstrip('.')}."
    if any("perfect score" in str(w.message) for w in caught):
        return "every prediction would have a perfect score."
    if strict and caught:
        return f"{str(caught[0].message).rstrip('.')}."
    return "it has no value for a constant prediction." if strict and math.isnan(score) else ""
