"""Copies of modules and of their tensors: what a run changes, it changes in a copy, and the caller's stays as it is.

States for the proof get noise where a fresh network has zeros and ones: a head that is initialised to zero hides
whatever is wrong before it, and equal biases look the same in any order.
"""

from __future__ import annotations

import copy
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from skfusion._numbers import place_of
from skfusion.state import State
from skfusion.tracing._call import tensors_among

NOISE = 0.2


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


def tensors_of(module: nn.Module, dtype: torch.dtype | None) -> State:
    """Return copies of all parameters and buffers, floating-point ones in another dtype; tied ones stay tied."""
    done: dict[int, Tensor] = {}
    out: State = {}
    for name, tensor in (
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),  # those that are not stored in a state_dict, too
    ):
        if id(tensor) not in done:
            done[id(tensor)] = tensor.detach().to(dtype if tensor.is_floating_point() else None, copy=True)
        out[name] = done[id(tensor)]
    return out


def perturbed(module: nn.Module, state: State, seed: int) -> State:
    """Return a state with noise on what is constant in a fresh network; tied tensors stay tied.

    These are constant parameters and those with one axis, such as biases, scales and zero-initialised heads, and the
    running statistics of batch norms, of which the variances stay positive.
    """
    generator = torch.Generator().manual_seed(seed)
    statistics = {
        f"{prefix}.{name}".lstrip("."): name
        for prefix, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, nn.modules.batchnorm._NormBase)
        for name in ("running_mean", "running_var")
    }
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    done: dict[int, Tensor] = {}
    out: State = {}
    for name, tensor in state.items():
        if id(tensor) not in done:
            kind = "parameter" if name in parameters else statistics.get(name, "constant")
            done[id(tensor)] = _moved(tensor, kind, generator)
        out[name] = done[id(tensor)]
    return out


def _moved(tensor: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    if kind == "constant" or not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    if kind == "running_var":
        factor = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
        return (tensor * factor.to(tensor)).clamp_min(1e-3)
    plain = tensor.dim() < 2
    if not plain and bool((tensor != tensor.reshape(-1)[0]).any()):
        return tensor
    size = NOISE if plain else 1 / sqrt(max(tensor[0].numel(), 1))
    return tensor + size * torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
