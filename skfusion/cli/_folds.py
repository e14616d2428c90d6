"""Whether there are rows enough for the folds of a comparison, and which classes are rare in them."""

from __future__ import annotations

import numpy as np

from skfusion.cli._sources import DataError
from skfusion.cli._table import Data


def check_folds(dataset: Data, cv: int) -> list[str]:
    """Return a note on the classes of fewer rows than folds, or raise where there are too few rows for the folds."""
    if dataset.task == "classification":
        labels, counts = np.unique(dataset.y, return_counts=True)
        if counts.max() < cv:
            raise DataError(
                f"The largest class, {labels[counts.argmax()]!s}, has {counts.max()} rows, fewer than the {cv} folds: "
                "lower --cv (at least 2), or add rows. A column of numbers is learnt by --task regression."
            )
        rare = [f"{label!s} ({n})" for label, n in zip(labels, counts, strict=True) if n < cv]
        if rare:
            return [
                f"Classes of fewer rows than the {cv} folds, so that some folds are tested without them: "
                f"{', '.join(rare[:5])}{', ...' if len(rare) > 5 else ''}."
            ]
    elif len(dataset.y) < 3 * cv:
        raise DataError(f"{len(dataset.y)} rows are too few for {cv} folds; give 3 rows a fold, or lower --cv.")
    return []
