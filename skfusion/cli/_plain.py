"""Values as JSON has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_MISSING = ("NAType", "NaTType")
"""The types of what is missing in pandas, which takes long to import and is not needed to show a pool."""


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN, infinity and what is missing are null."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in _MISSING or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
