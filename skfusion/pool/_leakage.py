"""Data leakage: which rows the members of a pool were trained on, and when that makes scores too good."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skfusion._rows import Rows
from skfusion.pool._member import Member

MOST_BY_CHANCE = 0.05
"""Share of rows that may equal those of training without a warning: rounded numbers are often equal by chance."""


class LeakageWarning(UserWarning):
    """Members are chosen or scored on rows that they were trained on."""


def known_rows(members: Iterable[Member], rows: Rows) -> tuple[np.ndarray, int, float]:
    """Return the marks of the rows that members were trained on, each once, and how many of ``rows`` and which share.

    A row is among them where it is one of them, or has the inputs of one.
    """
    seen = {id(m.rows): m.rows for m in members if m.rows is not None}
    marks = np.unique(np.concatenate([np.empty(0, np.uint64), *seen.values()]))
    count = int(rows.seen(marks, inputs=True).sum()) if len(marks) else 0
    return marks, count, count / max(1, len(rows))
