"""Marks of rows of any inputs: of numbers as networks get them, and of tables with text by their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skfusion._rows import key_of
from skfusion.pool._member import rows_of


def marks_of(X: Any, y: Any, classes: Any) -> np.ndarray | None:
    """Return marks of rows; None where there are no targets, or no rows that can be told apart.

    Targets may be labels that are none of the ``classes``, as rows that are held out may have a class that others lack.
    """
    if X is None or y is None:
        return None
    try:
        if classes is not None:
            labels = np.union1d(classes, np.asarray(y).reshape(-1))
            classes = labels if len(labels) > len(classes) else np.asarray(classes)
    except (TypeError, ValueError):
        return None
    for inputs in (lambda: X, lambda: _of_cells(X)):
        try:
            return rows_of(inputs(), y, classes)
        except (TypeError, ValueError):
            continue
    return None


def _of_cells(X: Any) -> dict[str, np.ndarray]:
    """Return a hash of each row of a table, by the values in its cells."""
    cells = np.asarray(X, dtype=object)
    if isinstance(X, Mapping) or cells.ndim == 0:
        raise TypeError("no table")
    rows = cells.reshape(len(cells), -1)
    return {"cells": np.array([key_of(*(repr(cell).encode() for cell in row)) for row in rows], np.uint64)}
