"""What modules are beside their tensors: a stack computes all members with the code and the attributes of one."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_OF_TORCH = frozenset(vars(nn.Module())) - {"training"}


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module and its parts that are no parameters, buffers or modules.

    Parameters
    ----------
    module : nn.Module
        Any.

    Returns
    -------
    dict
        Copies by dotted name, where they can be copied.
    """
    found: dict[str, Any] = {}
    for prefix, part in module.named_modules():
        found[f"{prefix}.__class__"] = type(part)
        for name, value in vars(part).items():
            if name not in _OF_TORCH:
                found[f"{prefix}.{name}".lstrip(".")] = _copied(value)
    return found


def difference(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    """Return the name of an attribute that differs, if there is one.

    Parameters
    ----------
    a, b : dict
        See :func:`attributes`.

    Returns
    -------
    str or None
        The first name.
    """
    for name in (*a, *(n for n in b if n not in a)):
        if name not in a or name not in b or not _same(a[name], b[name]):
            return name
    return None


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except (TypeError, RuntimeError, ValueError):
        return value


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return bool(a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b))
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if callable(a) and hasattr(a, "__code__"):
        return a.__code__ is b.__code__ and all(
            _same(getattr(a, part), getattr(b, part)) for part in ("__closure__", "__defaults__", "__kwdefaults__")
        )
    if isinstance(a, functools.partial):
        return _same((a.func, a.args, a.keywords), (b.func, b.args, b.keywords))
    if hasattr(a, "cell_contents"):
        return _same(a.cell_contents, b.cell_contents)
    if "__eq__" not in dir(type(a)) or type(a).__eq__ is vars(object)["__eq__"]:
        return hasattr(a, "__dict__") and _same(vars(a), vars(b))
    return bool(a == b)
