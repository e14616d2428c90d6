"""Data leakage: which rows the members of a pool were trained on, and when that makes scores too good."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skfusion._caller import warn_caller
from skfusion._rows import Rows, inputs_of
from skfusion.pool._member import Member

MOST_BY_CHANCE = 0.05
"""Share of rows that may equal those of training without a warning: rounded numbers are often equal by chance."""


class LeakageWarning(UserWarning):
    """Members are chosen or scored on rows that they were trained on."""


def warn_of_judging(members: Iterable[Member], rows: Rows, purpose: str) -> int:
    """Warn where networks are judged on rows that they know; see :meth:`ModelPool.warn_of_leakage`."""
    count, share = _known(_marks(members), rows)
    if share > MOST_BY_CHANCE:
        warn_caller(
            f"{count} of the {len(rows)} rows used {purpose} ({100 * share:.3g} %) are rows that members of the pool "
            "were trained on, or have their inputs, so their scores are too good. Give rows that no member has seen, "
            "or give a collector instead of a pool, which keeps validation_fraction of the rows apart.",
            LeakageWarning,
        )
    return count


def warn_of_fitting(members: Iterable[Member], rows: Rows) -> None:
    """Warn where members know most rows of a fit, and others; see :meth:`ModelPool.warn_of_cross_validation`."""
    marks = _marks(members)
    count, share = _known(marks, rows)
    unknown = marks[~np.isin(marks, rows.keys)]  # older pools have keys of rows in the place of marks
    others = len(np.setdiff1d(inputs_of(unknown), inputs_of(rows.marks)))
    if share > 0.5 and others:
        warn_caller(
            f"{count} of the {len(rows)} rows given to fit ({100 * share:.3g} %) are rows that members of the pool "
            f"were trained on, or have their inputs, and members know {others} more. If those are kept to score on, as "
            "in cross-validation, the scores are too good. Score on rows that no member has seen, or give a collector "
            "instead of a pool, which trains members in each fold.",
            LeakageWarning,
        )


def _marks(members: Iterable[Member]) -> np.ndarray:
    """Return what members remember of the rows that they were trained on, each once."""
    seen = {id(m.rows): m.rows for m in members if m.rows is not None}
    return np.unique(np.concatenate([np.empty(0, np.uint64), *seen.values()]))


def _known(marks: np.ndarray, rows: Rows) -> tuple[int, float]:
    """Return how many of the rows are known, and their share."""
    count = int(rows.seen(marks, inputs=True).sum()) if len(marks) else 0
    return count, count / max(1, len(rows))
