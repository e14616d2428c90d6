"""The matrices of a network that multiply what they are given, those inside attention included, and what they see."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
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
from torch.nn import functional as F

from skfusion._batches import row_weights
from skfusion._numbers import narrowed
from skfusion.merge._base import key_of
from skfusion.state import State

_FORWARDS = [kind.forward for kind in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)]
_BUDGET = 2**22  # numbers that a piece may have
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


def own_layers(module: nn.Module, owner: dict[str, str]) -> dict[str, nn.Module]:
    """Return the linear layers and convolutions, by name, that share none of their tensors with other layers."""
    is_own = own_keys(module, owner)
    linear = {name: part for name, part in module.named_modules() if type(part).forward in _FORWARDS}
    return {name: part for name, part in linear.items() if all(map(is_own, keys_of(name, part)))}


def own_keys(module: nn.Module, owner: dict[str, str]) -> Callable[[str], bool]:
    """Return a function of a name: whether its tensor is in the state, and belongs to one layer only."""
    holders: Counter[str] = Counter()
    for name, part in module.named_modules():
        keys = [key_of(name, t) for t, _ in part.named_parameters(recurse=False)]
        holders.update({owner[key] for key in keys if key in owner})
    return lambda key: key in owner and holders[owner[key]] == 1


def keys_of(name: str, layer: nn.Module) -> list[str]:
    """Return the names of a layer's weight and bias in a state."""
    return [key_of(name, "weight")] + ([] if layer.bias is None else [key_of(name, "bias")])


def pieces(layer: Any, name: str, x: Tensor, weight: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut the input of a layer into pieces of rows by which its weights are multiplied, with the weights of these rows.

    Rows are in float64, of shape (n_groups, n_rows, n_features), with a last feature 1 where the layer has a bias.
    """
    bias = getattr(layer, "in_proj_bias" if isinstance(layer, nn.MultiheadAttention) else "bias")
    if isinstance(layer, (nn.Linear, nn.MultiheadAttention)):
        windows = x.reshape(-1, 1, 1, x.shape[-1]) if x.ndim < 3 else x.flatten(1, -2).unsqueeze(1)
        n_axes = 1
    else:
        n_axes = layer.weight.ndim - 2
        windows = _windows(layer, x.reshape(-1, *x.shape[-n_axes - 1 :]))
    many = row_weights(weight, windows, name)
    groups, lines = windows.shape[1:3]
    width = windows.shape[3 : 2 + n_axes].numel()
    n_features = windows.shape[2 + n_axes :].numel()
    most = max(1, _BUDGET // max(1, groups * width * n_features))
    step = max(1, most // max(1, lines))
    for i in range(0, len(windows), step):
        for j in range(0, lines, most):
            part = windows[i : i + step, :, j : j + most].transpose(0, 1)
            rows = part.reshape(groups, -1, n_features).double()
            if bias is not None:
                rows = F.pad(rows, (0, 1), value=1.0)
            yield rows, many[i : i + step].repeat_interleave(part.shape[2] * width)


def input_of(args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Tensor:
    """Return the input of a layer from the arguments that it is called with."""
    return args[0] if args else kwargs["input"]


def _windows(layer: Any, x: Tensor) -> Tensor:
    """Return what a convolution sees, as a view of shape (n_samples, n_groups, *places, n_channels, *kernel)."""
    n = x.ndim - 2
    pads: list[int] = []
    for axis in reversed(range(n)):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            pads += [total // 2, total - total // 2]
        else:
            pads += [0, 0] if layer.padding == "valid" else [layer.padding[axis]] * 2
    if any(pads):
        x = F.pad(x, pads, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    x = x.reshape(len(x), layer.groups, -1, *x.shape[2:])
    for axis in range(n):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        x = x.unfold(3 + axis, reach, layer.stride[axis])[..., :: layer.dilation[axis]]
    return x.movedim(2, 2 + n)
