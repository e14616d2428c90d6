"""Weights of classes: what a row of each class counts for in losses, and what does not name a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from skfusion._rows import Rows


def class_weights(class_weight: Any, rows: Rows, labels: np.ndarray) -> np.ndarray | None:
    """Return what a row of each class counts for in losses, by its code, shape (n_classes,); None where all do alike.

    ``class_weight`` is None, ``"balanced"`` or a dict from labels to weights, and ``labels`` are those of the codes.
    The weights are scaled so that rows count 1 in the mean, by their own weights: only their ratios matter, and the
    learning rate keeps its meaning. Classes that have no rows count 1.
    """
    if class_weight is None:
        return None
    if rows.task == "multilabel":
        raise ValueError(
            f"class_weight={class_weight!r} is for classes that exclude each other, and the labels of y do not. Weigh "
            "labels in the criterion of the net, as by criterion__pos_weight of BCEWithLogitsLoss, or rows by "
            "sample_weight."
        )
    totals = np.bincount(rows.y, rows.weight, minlength=len(labels))
    if isinstance(class_weight, str) and class_weight == "balanced":
        weights, present = np.ones(len(labels)), np.flatnonzero(totals)
        weights[present] = compute_class_weight("balanced", classes=present, y=rows.y, sample_weight=rows.weight)
    elif isinstance(class_weight, Mapping):
        weights = _named(class_weight, labels)
    else:
        raise ValueError(
            f"class_weight must be None, 'balanced' or a dict from labels to weights; got {class_weight!r}."
        )
    weights = weights * (totals.sum() / (totals @ weights))
    return None if (weights == weights[0]).all() else weights


def _named(by_label: Mapping[Any, Any], labels: np.ndarray) -> np.ndarray:
    """Return the weights of a dict in the order of the labels; those that it does not name have 1."""
    known = labels.tolist()
    unknown = [label for label in by_label if label not in known]
    if unknown and any(label not in by_label for label in known):
        raise ValueError(
            f"class_weight names labels that y does not have: {unknown}; its classes are {known}. Correct them, or "
            "name every class: then labels that y lacks, as a fold of cross-validation may, are passed over."
        )
    try:
        weights = np.array([by_label.get(label, 1.0) for label in known], np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"class_weight must give a number for each label; got {dict(by_label)!r}.") from error
    if wrong := [label for label, w in zip(known, weights, strict=True) if not (np.isfinite(w) and w > 0)]:
        raise ValueError(
            f"class_weight must be positive and finite, and is not for {wrong}. To learn without a class, leave its "
            "rows out."
        )
    return weights
