"""Warnings at the line of the user's that led to them."""

from __future__ import annotations

import sys
import warnings

_LIBRARIES = ("joblib", "skfusion", "sklearn")  # whose frames no user looks at


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of the libraries that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
