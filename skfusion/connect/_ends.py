"""What connectors refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skfusion.state import State, check_compatible


def check_ends(connector: Any, states: Sequence[State]) -> None:
    """Raise ``ValueError`` unless there are two finite states of one architecture.

    Parameters
    ----------
    connector : Connector
        Which is to join them, for the message.
    states : sequence of State
        The states to join.
    """
    name, n = type(connector).__name__, len(states)
    if n < 2:
        raise ValueError(f"{name} joins two networks; got {n}. Collect another one, such as by Seeds(2).")
    if n > 2:
        raise ValueError(
            f"{name} joins two networks; got {n}. CurveClassifier and CurveRegressor join more of them, along the "
            "minimum spanning tree of their barriers."
        )
    check_compatible(states, ["first", "second"])
