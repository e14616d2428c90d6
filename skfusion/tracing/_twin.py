"""Copies of modules: whatever a run changes, it changes in a copy, and the module of the caller stays as it is."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from skfusion._numbers import place_of
from skfusion.tracing._call import tensors_among


def twin(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Return a deep copy of a module, which shares no memory with it.

    A first run may install hooks, set attributes, fill caches, and write to buffers or, by ``.data``, to weights. The
    copy has the hooks of the module, and tied tensors are tied. ``memo`` maps the identities of objects to those that
    replace them in the copy, as for ``copy.deepcopy``.
    """
    memo = {} if memo is None else memo
    for part in module.modules():
        for tensor in tensors_among(dict(vars(part))):
            if not tensor.is_leaf and id(tensor) not in memo:  # a tensor with a history, which deepcopy refuses
                memo[id(tensor)] = tensor.detach().clone()
    try:
        _tie(module, memo)
        return copy.deepcopy(module, memo)
    except Exception as error:  # copying an attribute may raise anything
        raise TypeError(
            f"{type(module).__name__} cannot be copied ({type(error).__name__}: {error}), and only copies are run, so "
            "that yours stays as it is. Leave out what has no copy, such as a lock or an open file, or give the module "
            "a __deepcopy__ method that does."
        ) from error


def _tie(module: nn.Module, memo: dict[int, Any]) -> None:
    """Make parameters that share memory do so in the copy; torch would copy each by itself."""
    firsts: dict[tuple[object, ...], nn.Parameter] = {}
    for parameter in module.parameters():
        first = firsts.setdefault(place_of(parameter), parameter)
        if first is not parameter and parameter.numel() and id(parameter) not in memo:
            memo[id(first)] = copy.deepcopy(first, memo)
            memo[id(parameter)] = copy.deepcopy(parameter)
            memo[id(parameter)].data = memo[id(first)].data
