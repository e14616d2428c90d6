"""Groups of rows that a collector keeps together."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np

from skfusion._rows import Rows


def groups_kept(collect: Any, net: Any, rows: Rows) -> np.ndarray | None:
    """Return groups of rows that stay together where a collector draws rows, or its net validates on some of them.

    Repetitions by weight are groups where they cannot be known by their values, as those of categories. None where
    neither asks for groups.
    """
    if rows.groups is not None and collect.draws_groups:
        return rows.groups
    if getattr(net, "train_split", None) is None or "groups" not in signature(collect).parameters:
        return None
    if rows.groups is not None or rows.position is None:
        return rows.groups
    alone = replace(rows, position=None)
    return rows.position if len(rows.units()[0]) < len(alone.units()[0]) else None
