"""Labels of rows of which some have none, which -1 says."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import column_or_1d

_IN_OBJECTS = (
    "give y as an array of objects, such as np.array(['red', -1], dtype=object), or labels as whole numbers, which "
    "cross-validation stratifies"
)


def check_complete(y: Any) -> None:
    """Raise where a label is NaN or None."""
    missing = int(np.sum(np.asarray(pd.isna(y))))
    if y is not None and missing:
        raise ValueError(
            f"y contains NaN or None in {missing} rows. Rows without a label are marked by the number -1: give "
            "y.astype(object).fillna(-1) of a Series y."
        )


def read_labels(y: Any, classes: Any) -> np.ndarray:
    """Return labels, shape (n_samples,); the string '-1' may only be a class that is named in ``classes``."""
    y = column_or_1d(y, warn=True)
    is_text = y.dtype.kind in "USO" and np.any(y == ("-1" if y.dtype.kind != "S" else b"-1"))
    if is_text and "-1" not in ([] if classes is None else [*classes]):
        raise ValueError(f"y has the string '-1'. Unlabelled rows are marked by the number -1: {_IN_OBJECTS}.")
    return y


def has_label(y: np.ndarray, classes: Any) -> np.ndarray:
    """Return which rows have a label: all, where -1 is among the classes."""
    if y.dtype.kind in "US" or (classes is not None and -1 in [*classes]):
        return np.ones(len(y), bool)
    return np.array(y != -1, bool)


def plain(y: np.ndarray) -> np.ndarray:
    """Return labels in an array of their own kind instead of objects."""
    return np.array(y.tolist()) if y.dtype.kind == "O" else y


def is_minus_one_a_class(y: np.ndarray) -> bool:
    """Return whether -1 is a class beside the only label, and raise where that label alone cannot be learned."""
    labels = {*y.tolist()}
    if len(labels) > 1:
        return False
    if labels == {1}:
        warnings.warn(
            "All labels are -1 or 1, which are taken for two classes. If -1 means that a row has no label, give the "
            "net its classes, such as mlp_classifier(classes=[0, 1]), or label rows of another class.",
            UserWarning,
            stacklevel=4,
        )
        return True
    raise ValueError(
        f"All labelled rows are of the class {labels.pop()!r}, and -1 means that a row has no label: label rows of "
        "other classes too, or give the net all its classes, such as mlp_classifier(classes=[0, 1])."
    )
