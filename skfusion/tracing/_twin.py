"""Copies of modules, on which runs leave their traces: the module that was given stays as it was."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from skfusion._numbers import place_of
from skfusion.tracing._call import tensors_among


def twin(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Return a deep copy of a module, which shares no memory with it.

    A first run may install hooks, set attributes, fill caches, and write to buffers or, by ``.data``, to weights.
    All of that happens to the copy.

    Parameters
    ----------
    module : nn.Module
        It is not changed.
    memo : dict, optional
        What stands for objects of the module in the copy, by identity.

    Returns
    -------
    nn.Module
        With its hooks, and tied tensors tied. Tensors that carry a history, such as what the last run has computed, are
        without it, as torch does not copy histories.

    Raises
    ------
    TypeError
        If the module holds what has no copy.
    """
    memo = {} if memo is None else memo
    for part in module.modules():
        for tensor in tensors_among(dict(vars(part))):
            if not tensor.is_leaf and id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone()
    try:
        _tie(module, memo)
        return copy.deepcopy(module, memo)
    except Exception as error:  # whatever the copy of an attribute may raise
        raise TypeError(
            f"{type(module).__name__} cannot be copied ({type(error).__name__}: {error}), and only copies are run, so "
            "that yours stays as it is. Leave out what has no copy, such as a lock or an open file, or give the module "
            "a __deepcopy__ method that does."
        ) from error


def _tie(module: nn.Module, memo: dict[int, Any]) -> None:
    """Let parameters that lie in one place of memory do so in the copy, for torch copies each by itself."""
    firsts: dict[tuple[object, ...], nn.Parameter] = {}
    for parameter in module.parameters():
        first = firsts.setdefault(place_of(parameter), parameter)
        if first is not parameter and parameter.numel() and id(parameter) not in memo:
            memo[id(first)] = copy.deepcopy(first, memo)
            memo[id(parameter)] = copy.deepcopy(parameter)
            memo[id(parameter)].data = memo[id(first)].data
