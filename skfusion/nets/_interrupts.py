"""Interrupts: whether a callback or the user has ended a training, and what the user's leave behind."""

from __future__ import annotations

import dis
import signal
from collections.abc import Iterable

from skfusion.pool import Member, ModelPool
from skfusion.state import State

_RAISE = bytes([dis.opmap["RAISE_VARARGS"]])
"""The instruction of a ``raise`` statement."""


def from_callback(stop: KeyboardInterrupt) -> bool:
    """Return whether a callback ended the training, which skorch lets it do by this exception, and not the user.

    A callback raises it by a statement of its own. An interrupt of the user comes from the handler of the signal, at
    whatever the program is just doing, and that may be a callback.
    """
    trace = stop.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    if code is getattr(signal.getsignal(signal.SIGINT), "__code__", None):
        return False
    step = code.co_code[trace.tb_lasti : trace.tb_lasti + 1]
    return code.co_name.startswith("on_") and step == _RAISE


def hand_over(stop: KeyboardInterrupt, members: Iterable[Member], base: State | None = None) -> None:
    """Give an interrupt of the user the members that are trained, as its ``pool``; None where there are none."""
    members = [*members]
    stop.pool = ModelPool(members, base) if members else None  # type: ignore[attr-defined]
    if members:
        count = "The member that is" if len(members) == 1 else f"The {len(members)} members that are"
        stop.args = (
            f"{count} trained can be fused: fuse(error.pool, X, y), where error is this KeyboardInterrupt, "
            "sys.last_value in a console.",
        )
