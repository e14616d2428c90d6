"""Scores, class labels and metadata as JSON holds them, and the check of what is read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def score_to_json(score: float) -> float | str | None:
    """Return a score as what JSON can hold: None for NaN, and infinity as text."""
    return score if math.isfinite(score) else None if math.isnan(score) else str(score)


def score_from_json(stored: float | str | None) -> float:
    """Return the score that :func:`score_to_json` has stored."""
    if not (stored is None or stored in ("inf", "-inf") or (isinstance(stored, int | float) and stored is not True)):
        raise ValueError(f"{stored!r:.80} is no score")
    return math.nan if stored is None else float(stored)


def classes_to_json(classes: np.ndarray | None) -> dict[str, Any] | None:
    """Return class labels as what JSON can hold; their dtype is kept."""
    if classes is None:
        return None
    plain = classes.dtype.kind in "biufU" and classes.dtype != np.longdouble
    if not plain and not (
        classes.dtype.kind == "O" and all(isinstance(c, (str, bool, int, float, type(None))) for c in classes.flat)
    ):
        raise ValueError(
            f"Class labels of dtype {classes.dtype} cannot be stored; a file holds numbers, strings and booleans. "
            "Encode the labels first, e.g. with LabelEncoder."
        )
    return {"dtype": classes.dtype.str, "values": meta_to_json(classes.tolist())}


def classes_from_json(stored: dict[str, Any] | None) -> np.ndarray | None:
    """Return the class labels that :func:`classes_to_json` has stored."""
    if stored is None:
        return None
    values, dtype = meta_from_json(stored["values"]), np.dtype(stored["dtype"])
    if not isinstance(values, list) or any(isinstance(value, list | dict) for value in values):
        raise ValueError("classes are no list of labels")
    # A crafted width of text would take gigabytes for a handful of labels.
    if dtype.kind not in "biufUO" or (dtype.kind == "U" and dtype.itemsize > 4 * max([1, *map(len, values)])):
        raise ValueError(f"{stored['dtype']!r:.80} is no dtype of class labels")
    return np.array(values, dtype=dtype)


def meta_to_json(value: Any) -> Any:
    """Return metadata with NaN and infinity, which JSON lacks, as ``{"$float": "nan"}``."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(float(value))}
    if isinstance(value, dict):
        return {key: meta_to_json(inner) for key, inner in value.items()}
    return [meta_to_json(inner) for inner in value] if isinstance(value, list) else value


def meta_from_json(value: Any) -> Any:
    """Return the metadata that :func:`meta_to_json` has stored."""
    if isinstance(value, dict):
        if value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf"):
            return float(value["$float"])
        return {key: meta_from_json(inner) for key, inner in value.items()}
    return [meta_from_json(inner) for inner in value] if isinstance(value, list) else value
