"""The ways in which found models may be reused, and training anew, judged on labelled rows that they have not seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from skfusion._rows import Rows, Task
from skfusion.data import folds
from skfusion.reuse import Found, Reuser

ANEW = "anew"
"""The name of training anew among the options."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What options are worth: their out-of-fold scores, and why some have none."""

    scores: dict[str, float]
    failures: dict[str, str]

    def order(self, fits: bool | None) -> list[str]:
        """Return the options from the best to the worst.

        Among equals, those that reuse models come first, in the order in which they were given; training anew does
        where the models do not fit.
        """
        names = sorted(self.scores, key=lambda name: (name == ANEW) != (fits is False))
        return sorted(names, key=lambda name: -self.scores[name])

    def to_frame(self, chosen: str) -> pd.DataFrame:
        """Return a row for each option: its score, whether it is chosen, and why it has no score."""
        names = [*self.scores, *self.failures]
        columns = {
            "score": [self.scores.get(name, np.nan) for name in names],
            "chosen": [name == chosen for name in names],
            "failure": [self.failures.get(name, "") for name in names],
        }
        return pd.DataFrame(columns, index=pd.Index(names, name="option")).sort_values(
            "score", ascending=False, kind="stable"
        )


def judged(
    options: Mapping[str, Reuser],
    found_of: Callable[[np.ndarray], Found],
    rows: Rows,
    classes: np.ndarray | None,
    cv: Any,
    score: Callable[[np.ndarray, Rows], float],
    seed: int,
) -> Judged:
    """Score each option by its predictions out of fold; ``found_of`` gives what is found from the rows of a fold.

    An option that fails in a fold has no score, as has one whose search fails there.
    """
    task: Task = rows.task or "classification"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Classes of fewer different rows")  # few rows are the rule here
        parts = list(folds(rows, cv, task, seed))
    found: list[Found] | Exception
    try:
        found = [found_of(train) for train, _ in parts]
    except Exception as error:  # as of a part with one class alone
        found = error
    scores, failures = dict[str, float](), dict[str, str]()
    for name, option in options.items():
        try:
            of_fold = [None] * len(parts) if name == ANEW else _raised(found)  # training anew asks for nothing
            P, tested = _out_of_fold(option, parts, of_fold, rows, classes, seed)
            value = score(P, rows.take(tested))
        except Exception as error:  # one failure loses one option
            failures[name] = f"{type(error).__name__}: {error}"
            continue
        if np.isnan(value):
            failures[name] = "its score is NaN"
        else:
            scores[name] = float(value)
    return Judged(scores, failures)


def _raised(found: list[Found] | Exception) -> list[Found]:
    """Return what is found, or raise what has gone wrong."""
    if isinstance(found, Exception):
        raise found
    return found


def _out_of_fold(
    option: Reuser,
    parts: list[tuple[np.ndarray, np.ndarray]],
    found: list[Any],
    rows: Rows,
    classes: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions of rows that the option was fitted without, and their positions."""
    P = []
    for (train, test), what in zip(parts, found, strict=True):
        part = rows.take(train)
        fitted = clone(option).fit(what, part.X, part.y, classes, seed)
        P.append(fitted(rows.take(test).X))
    return np.concatenate(P), np.concatenate([test for _, test in parts])
