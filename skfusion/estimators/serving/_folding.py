"""BatchNorm merged into the linear or convolutional layer before it, which evaluation mode allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(module: nn.Module, example: Tensor) -> nn.Module:
    """Return a module with each BatchNorm merged into the layer before it, where that computes the same.

    That is where nothing else reads the output of the layer, which a pass of an example tells. The module itself is
    returned where it has none of these, where it does not take the example, or where its output changes.
    """
    with suppress(Exception), torch.no_grad():  # whatever a module may do with an example that it was not made for
        pairs = _pairs(module, example)
        if not pairs:
            return module
        copy = deepcopy(module)
        for layer, norm in pairs:
            _replace(copy, layer, _merged(copy.get_submodule(layer), copy.get_submodule(norm)))
            _replace(copy, norm, nn.Identity())
        before, after = module(example), copy(example)
        if torch.allclose(before, after, 1e-4, 1e-5 * float(before.abs().max())):
            return copy
    return module


def _merged(layer: nn.Module, norm: Any) -> nn.Module:
    """Return a layer with the norm after it: computed in float64, and rounded once."""
    dtype = next(layer.parameters()).dtype
    fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    norm = deepcopy(norm).double()
    if norm.weight is None:
        norm.weight, norm.bias = (nn.Parameter(fill(norm.running_mean)) for fill in (torch.ones_like, torch.zeros_like))
    merged: nn.Module = fuse(deepcopy(layer).double(), norm)
    return merged.to(dtype).requires_grad_(False)


def _pairs(module: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """Return the names of layers, each with that of the BatchNorm which alone reads its output."""
    watch = _Watch(module)
    try:
        with watch:
            out = module(example)
    finally:
        for handle in watch.handles:
            handle.remove()
    returned = {id(leaf) for leaf in tree_leaves(out)}
    pairs = []
    for norm, key in watch.read_by.items():
        layer = watch.made_by.get(key)
        if layer is None or watch.others[key] or key in returned:
            continue
        if watch.calls[layer] == watch.calls[norm] == 1:
            pairs.append((layer, norm))
    return pairs


class _Watch(TorchFunctionMode):
    """Watches who makes and who reads the tensors between layers and norms, in one pass through a module."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.made_by: dict[int, str] = {}
        self.read_by: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.others: Counter[int] = Counter()
        self.alive: list[Tensor] = []  # so that no other tensor gets the id of one
        self.inside = False  # a norm, which reads its own input
        self.linear = {name for name, part in module.named_modules() if isinstance(part, nn.Linear)}
        self.handles = [handle for name, part in module.named_modules() for handle in self._watched(name, part)]

    def _watched(self, name: str, part: nn.Module) -> Iterator[Any]:
        if _is_plain(part, (nn.Linear, *_CONVOLUTIONS)):
            yield part.register_forward_hook(lambda _part, _args, out: self._made(name, out))
        elif _is_plain(part, _NORMS) and part.running_mean is not None:
            yield part.register_forward_pre_hook(lambda _part, args: self._read(name, args))
            yield part.register_forward_hook(lambda *_: self._left())

    def _made(self, name: str, out: Tensor) -> None:
        self.calls[name] += 1
        self.alive.append(out)
        if out.dim() == 2 or name not in self.linear:  # of more axes, BatchNorm takes another one than the layer
            self.made_by[id(out)] = name

    def _read(self, name: str, args: Any) -> None:
        self.calls[name] += 1
        self.inside = True
        self.alive.append(args[0])
        self.read_by[name] = id(args[0])

    def _left(self) -> None:
        self.inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute a function, and count those outside of norms that read the output of a layer."""
        if not self.inside:
            self.others.update(id(leaf) for leaf in tree_leaves((args, kwargs)) if id(leaf) in self.made_by)
        return func(*args, **(kwargs or {}))


def _is_plain(part: nn.Module, kinds: tuple[type, ...]) -> bool:
    """Return whether a module is of one of the classes itself, without hooks, as those of weight norms are."""
    return type(part) in kinds and not (part._forward_hooks or part._forward_pre_hooks)


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, part)
