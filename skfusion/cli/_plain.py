"""Values as JSON has them."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import typer

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


def print_json(value: Any) -> None:
    """Print a value as JSON to the standard output; where that cannot have all letters, as their numbers."""
    every = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    typer.echo(json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=not every))
