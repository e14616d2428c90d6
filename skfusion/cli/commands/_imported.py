"""Import what a command does, once its options have been read: torch alone takes a second."""

from __future__ import annotations

import atexit
import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_AT_REST = ContextVar("_AT_REST", default=False)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Turn the garbage collector off until `imported` has imported what a command needs; leave it as it was found."""
    collected, frozen = gc.isenabled(), gc.get_freeze_count()
    token = _AT_REST.set(collected)
    gc.disable()
    try:
        yield
    finally:
        _AT_REST.reset(token)
        if collected:
            gc.enable()
        if gc.get_freeze_count() and not frozen:
            gc.unfreeze()  # for a program that goes on; where the process ends, looking through all takes long
            atexit.register(gc.freeze)


def imported(name: str) -> Any:
    """Return a module of the command line, and turn the garbage collector on where it rests.

    Imports make hundreds of thousands of objects that stay. The collector would look for garbage among them again and
    again, so it rests meanwhile, and leaves them out later. Where something else has turned it off, it stays off.
    """
    module = importlib.import_module(f"skfusion.cli.{name}")
    if _AT_REST.get() and not gc.isenabled():
        if not gc.get_freeze_count():  # what something else has frozen cannot be told from more of it
            gc.freeze()
        gc.enable()
    return module
