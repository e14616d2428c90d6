"""The networks that a connector of several is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skfusion.connect._base import check_states
from skfusion.state import State


def check_members(connector: Any, states: Sequence[State], least: int = 2, most: int | None = None) -> None:
    """Raise ``ValueError`` unless there are enough finite states of one architecture, and not too many."""
    name, n = type(connector).__name__, len(states)
    if 0 < n < least:
        raise ValueError(f"{name} joins at least {least} networks; got {n}. Collect more, such as by Seeds({least}).")
    if most is not None and n > most:
        raise ValueError(f"{name} joins at most {most} networks; got {n}. Select some, such as by TopK({most}).")
    check_states(states)
