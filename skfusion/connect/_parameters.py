"""Which values the parameters of connectors may have."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def check_whole(component: Any, *names: str, least: int = 0) -> None:
    """Raise ``ValueError`` where a parameter is no whole number of at least so much."""
    for name in names:
        value = getattr(component, name)
        if not _is_whole(value) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")


def check_numbers(component: Any, *names: str) -> None:
    """Raise an error where a parameter is no number that is finite and at least 0."""
    for name in names:
        value = _number(component, name)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0; got {getattr(component, name)!r}.")


def check_share(component: Any, name: str) -> None:
    """Raise an error where a parameter is no number above 0 and below 1."""
    if not 0 < _number(component, name) < 1:
        raise ValueError(f"{name} must be above 0 and below 1; got {getattr(component, name)!r}.")


def check_steps(component: Any, *others: str) -> None:
    """Raise an error where ``lr``, ``momentum``, ``random_state`` or other numbers make no steps of SGD."""
    check_numbers(component, "lr", "momentum", *others)
    if component.momentum >= 1:
        raise ValueError(f"momentum must be below 1, or steps grow without end; got {component.momentum!r}.")
    if not _is_whole(component.random_state) or not 0 <= component.random_state < 2**32:
        raise ValueError(
            f"random_state must be a whole number from 0 to 2**32 - 1, so that a curve can be made again; got "
            f"{component.random_state!r}."
        )


def is_number(value: Any) -> bool:
    """Return whether a value is a real number, infinity and NaN included."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _number(component: Any, name: str) -> float:
    value = getattr(component, name)
    if not is_number(value):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    return float(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
