"""What is left of a collection that the user interrupts."""

from __future__ import annotations

from collections.abc import Iterable

from skfusion.pool import Member, ModelPool
from skfusion.state import State


def hand_over(stop: KeyboardInterrupt, members: Iterable[Member], base: State | None = None) -> None:
    """Give an interrupt the members that are trained as its ``pool``, and let it say so; None where there are none.

    Parameters
    ----------
    stop : KeyboardInterrupt
        The interrupt, which goes on its way.
    members : iterable of Member
        What is trained.
    base : State, optional
        The common start of the members.
    """
    members = [*members]
    stop.pool = ModelPool(members, base) if members else None  # type: ignore[attr-defined]
    if members:
        count = "The member that is" if len(members) == 1 else f"The {len(members)} members that are"
        stop.args = (
            f"{count} trained can be fused: fuse(error.pool, X, y), where error is this KeyboardInterrupt, "
            "sys.last_value in a console.",
        )
