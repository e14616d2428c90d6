"""Import what a command does, once its options have been read: torch alone takes a second."""

from __future__ import annotations

import gc
import importlib
from typing import Any


def imported(name: str) -> Any:
    """Return a module of the command line, and turn the garbage collector on where `main` has turned it off.

    Imports make hundreds of thousands of objects that stay. The collector would look for garbage among them again and
    again, so it rests meanwhile, and leaves them out later.
    """
    module = importlib.import_module(f"skfusion.cli.{name}")
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    return module
