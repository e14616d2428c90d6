"""Inputs that need no more checks."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_checked(estimator: Any, X: Any) -> bool:
    """Return whether X is what checks would return of it, for a fitted estimator.

    They take longer than a small network takes for a row. The sum is not finite where one of the numbers is not.
    """
    plain = type(X) is np.ndarray and X.dtype == np.float32 and X.flags.c_contiguous and len(X) > 0
    as_fitted = plain and X.shape[1:] == getattr(estimator, "_shape_in", None)
    if not as_fitted or hasattr(estimator, "feature_names_in_"):
        return False
    with np.errstate(invalid="ignore"):  # of infinities of both signs
        return bool(np.isfinite(X.sum(dtype=np.float64)))
