"""The matrices of a network that multiply what they are given, those inside attention included."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from skfusion._numbers import narrowed
from skfusion.merge._base import key_of
from skfusion.merge.statistics._layer_inputs import input_of, keys_of, own_keys, own_layers
from skfusion.state import State

_ALL = slice(None)
_INPUTS = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
"""What the projections of attention multiply, in the order in which their rows are stacked."""

Which = str | type[nn.Module]
"""A pattern of names, or a type, of layers or of modules that they are in."""


@dataclass(frozen=True)
class Matrix:
    """A weight that multiplies inputs, and its bias, where ``layer`` has one.

    ``parts`` are their names in a state, with the rows of the tensor that they are.
    """

    layer: nn.Module
    parts: tuple[tuple[str, slice], ...]

    @property
    def keys(self) -> list[str]:
        """The names in a state."""
        return [key for key, _ in self.parts]

    def columns(self, state: State) -> Tensor:
        """Return the weights, and the bias as the last feature, in float64: (n_groups, n_features, n_units)."""
        tensors = [state[key][rows].detach().double() for key, rows in self.parts]
        w = torch.cat([t.reshape(len(t), -1) for t in tensors], 1)
        n_groups = int(getattr(self.layer, "groups", 1))
        return w.reshape(n_groups, -1, w.shape[1]).mT

    def written(self, columns: Tensor, state: State) -> State:
        """Return the tensors of a state with what :meth:`columns` would make of them in their place."""
        w = columns.mT.flatten(0, 1)
        new = {}
        parts = torch.split(w, [w.shape[1] - 1, 1] if len(self.parts) == 2 else [w.shape[1]], dim=1)
        for (key, rows), part in zip(self.parts, parts, strict=True):
            new[key] = state[key].clone()
            new[key][rows] = narrowed(part.reshape(state[key][rows].shape), state[key].dtype, key)
        return new


def matrices(module: nn.Module, owner: dict[str, str]) -> dict[str, Matrix]:
    """Return the matrices of linear layers, convolutions and attention that share no tensor with other layers, by name.

    Those of attention have its name and ``q_proj``, ``k_proj``, ``v_proj`` or ``out_proj``.
    """
    layers = own_layers(module, owner)
    by_name = {
        name: Matrix(layer, tuple((key, _ALL) for key in keys_of(name, layer))) for name, layer in layers.items()
    }
    is_own = own_keys(module, owner)
    for name, layer in module.named_modules():
        if is_attention(layer):
            every = _projections(name, layer)
            by_name |= {key_of(name, p): m for p, m in every.items() if all(map(is_own, m.keys))}
    return by_name


def is_attention(layer: nn.Module) -> bool:
    """Return whether a layer is PyTorch's multi-head attention, and computes as such."""
    return type(layer).forward is nn.MultiheadAttention.forward


def _projections(name: str, layer: Any) -> dict[str, Matrix]:
    """Return the matrices of queries, keys and values, which are rows of one tensor where their sizes are equal."""
    n, by_part = layer.embed_dim, {}
    for i, part in enumerate(_INPUTS):
        rows = slice(i * n, (i + 1) * n)
        weight = ("in_proj_weight", rows) if layer.in_proj_weight is not None else (f"{part}_weight", _ALL)
        bias = [] if layer.in_proj_bias is None else [("in_proj_bias", rows)]
        by_part[part] = Matrix(layer, tuple((key_of(name, key), rows) for key, rows in (weight, *bias)))
    return by_part


@contextmanager
def watching(module: nn.Module, by_name: dict[str, Matrix], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Show ``see(name, x)`` what matrices multiply while the module runs; samples come first."""
    with ExitStack() as hooks:
        for name, matrix in by_name.items():
            if not is_attention(matrix.layer):
                hook = matrix.layer.register_forward_pre_hook(partial(_show_input, see, name), with_kwargs=True)
                hooks.enter_context(hook)
        for name, layer in module.named_modules():
            if is_attention(layer):
                keys = {part: key_of(name, part) for part in (*_INPUTS, "out_proj")}
                parts = {part: partial(see, key) for part, key in keys.items() if key in by_name}
                hooks.enter_context(layer.register_forward_pre_hook(partial(_show, parts), with_kwargs=True))
        hooks.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)  # which would pass by the layers
        yield


def _show_input(see: Callable[[str, Tensor], None], name: str, _layer: Any, args: Any, kwargs: dict[str, Any]) -> None:
    see(name, input_of(args, kwargs).detach())


def _show(see: Mapping[str, Callable[[Tensor], None]], layer: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Show the inputs of those of the four matrices of attention that are asked for."""
    arguments = inspect.signature(nn.MultiheadAttention.forward).bind(layer, *args, **kwargs).arguments
    heads = nn.MultiheadAttention.forward(_open(layer), *args, **kwargs)[0]
    for part, x in [*((part, arguments[what]) for part, what in _INPUTS.items()), ("out_proj", heads)]:
        if part in see:
            see[part]((x if layer.batch_first or x.ndim == 2 else x.transpose(0, 1)).detach())


def _open(layer: Any) -> Any:
    """Return attention whose last matrix is the identity, so that it returns what that one multiplies."""
    like = layer.out_proj.weight
    eye = torch.eye(len(like), dtype=like.dtype, device=like.device)
    opened = copy.copy(layer)
    opened._modules = {"out_proj": SimpleNamespace(weight=eye, bias=None)}
    return opened


def meant(which: Sequence[Which], names: Sequence[str], module: nn.Module, asker: str) -> dict[str, Which]:
    """Return the first pattern or type, out of ``which``, that means each of some layers, or a module they are in.

    ``asker`` is the parameter, for the message where one means no layer.
    """
    modules = dict(module.named_modules())

    def means(what: Which, name: str) -> bool:
        places = [*accumulate(name.split("."), "{}.{}".format)]
        if isinstance(what, str):
            return any(fnmatchcase(place, what) for place in places)
        return any(isinstance(modules.get(place), what) for place in ("", *places))

    for what in which:
        if not any(means(what, name) for name in (*names, *modules)):
            shown = what if isinstance(what, str) else what.__name__
            raise ValueError(f"{asker} names {shown!r}, and no layer is called or made so; solved for are {[*names]}.")
    return {name: hits[0] for name in names if (hits := [what for what in which if means(what, name)])}
