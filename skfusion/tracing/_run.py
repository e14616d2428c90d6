"""Run copies of a module, without an effect on the module, on its inputs or on the random generators of the caller.

What a run changes, it changes in a copy. States for the proof get noise where a fresh network has zeros and ones: a
head that is initialised to zero hides whatever is wrong before it, and equal biases look the same in any order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import is_dataclass
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from skfusion._numbers import place_of
from skfusion._random import seed_scope
from skfusion.state import State, map_tensors, owners
from skfusion.tracing._call import tensors_among

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
NOISE = 0.2
QUIET = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RNNBase)
"""Modules that stay in eval mode when others train: dropout and the like would hide the order of units in noise."""

FUSED: tuple[tuple[Callable[[], bool], Callable[[bool], None]], ...] = (
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    (torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled),
)
"""How to query and to switch kernels that do the work of many operations."""


def arguments_of(example_inputs: Any) -> Inputs:
    """Return positional arguments and arguments by name."""
    if isinstance(example_inputs, dict):
        return (), dict(example_inputs)
    if not isinstance(example_inputs, (tuple, list)):
        return (example_inputs,), {}
    if example_inputs and isinstance(example_inputs[-1], dict):
        return tuple(example_inputs[:-1]), dict(example_inputs[-1])
    return tuple(example_inputs), {}


def copied(inputs: Inputs, dtype: torch.dtype | None = None) -> Inputs:
    """Return inputs whose tensors are copies, floating-point ones in another dtype."""

    out: Inputs = tree_map(lambda v: _copied(v, dtype) if isinstance(v, Tensor) else v, inputs)
    return out


def _copied(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.detach().to(dtype if tensor.is_floating_point() else None, copy=True)


def shapes_of(inputs: Inputs) -> str:
    """Return the shapes of all tensors among inputs, for a message."""
    shapes = [f"{tuple(t.shape)} of {t.dtype}" for t in tensors_among(inputs)]
    return ", ".join(shapes) or "no tensor"


def tensors_in(value: Any, depth: int = 4) -> list[Tensor]:
    """Return all tensors in a nested result, including those in attributes of objects."""
    out: list[Tensor] = []
    for leaf in tree_flatten(value)[0]:
        if isinstance(leaf, Tensor):
            out.append(leaf)
        elif depth and (is_dataclass(leaf) or hasattr(leaf, "__dict__")) and not isinstance(leaf, (type, nn.Module)):
            out += [t for inner in vars(leaf).values() for t in tensors_in(inner, depth - 1)]
    return out


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Switch off kernels that do the work of many operations at once.

    The fused path of multi-head attention and the recurrent layers of oneDNN and cuDNN hide what happens between their
    inputs and outputs. Runs in this context show the same operations as the trace by which a symmetry was found.

    Yields
    ------
    None
        Nothing; the previous settings are restored afterwards.
    """
    with ExitStack() as restored:
        for get, switch in FUSED:
            restored.callback(switch, get())
            switch(False)
        yield


def run(
    module: nn.Module, inputs: Inputs, train: bool = False, within: Sequence[AbstractContextManager[Any]] = ()
) -> Any:
    """Return what a module returns, with the same random numbers of torch, numpy and Python each time.

    With ``train`` it runs as in training, but without dropout and with the running statistics of batch norms. The
    contexts of ``within`` are entered, one after the other, before it runs. Modes are set and a run may change the
    module: give a copy.
    """
    module.train()  # modules that cache what they computed from their weights drop it here
    module.train(train)
    for part in module.modules() if train else ():
        part.training = part.training and not isinstance(part, QUIET)
    args, kwargs = inputs
    on_gpu = any(p.is_cuda for p in module.parameters())
    draws = seed_scope(0, "cuda" if on_gpu else "cpu")
    with ExitStack() as stack:
        contexts: list[AbstractContextManager[Any]] = [draws, torch.no_grad(), plain_kernels(), NoDropout(), *within]
        for context in contexts:
            stack.enter_context(context)
        return module(*args, **kwargs)


# By function: the argument that controls its dropout, its position, and the value without dropout.
DROPOUTS: dict[Any, tuple[str, int, Any]] = {
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), ("training", 2, False)),
    **dict.fromkeys((F.alpha_dropout, F.feature_alpha_dropout), ("training", 2, False)),
    F.multi_head_attention_forward: ("training", 13, False),
    F.scaled_dot_product_attention: ("dropout_p", 4, 0.0),
    torch.dropout: ("train", 2, False),
}


class NoDropout(TorchFunctionMode):
    """A mode in which functions drop nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function."""
        kwargs = dict(kwargs or {})
        if func in DROPOUTS:
            name, place, off = DROPOUTS[func]
            args = (*args[:place], off, *args[place + 1 :]) if len(args) > place else args
            kwargs |= {name: off} if len(args) <= place else {}
        return func(*args, **kwargs)


# -------------------------------------------------------------------------------------------------------------- copies


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
    named: State = dict(module.named_parameters(remove_duplicate=False))
    named |= dict(module.named_buffers(remove_duplicate=False))  # those that are not stored in a state_dict, too
    return map_tensors(lambda tensor: _copied(tensor, dtype), named)


def keeps_statistics(part: nn.Module) -> bool:
    """Return whether a module has running statistics of its units: a batch norm, or a frozen one, of whatever class."""
    buffers = {name for name, _ in part.named_buffers(recurse=False)}
    return isinstance(part, nn.modules.batchnorm._NormBase) or {"running_mean", "running_var"} <= buffers


def perturbed(module: nn.Module, state: State, seed: int) -> State:
    """Return a state with noise on what is constant in a fresh network; tied tensors stay tied.

    These are constant parameters and those with one axis, such as biases, scales and zero-initialised heads, and the
    running statistics of batch norms, of which the variances stay positive.
    """
    generator = torch.Generator().manual_seed(seed)
    kinds = {
        f"{prefix}.{name}".lstrip("."): name
        for prefix, part in module.named_modules(remove_duplicate=False)
        if keeps_statistics(part)
        for name, _ in part.named_buffers(recurse=False)
    }
    kinds |= dict.fromkeys((name for name, _ in module.named_parameters(remove_duplicate=False)), "parameter")
    out: State = {}
    for name, owner in owners([state]).items():
        known = kinds.get(name, "constant")
        out[name] = out[owner] if owner != name else _moved(state[name], known, generator)
    return out


def _moved(tensor: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    if kind == "constant" or not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    if kind == "running_var":
        factor = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
        return (tensor * factor.to(tensor)).clamp_min(1e-3)
    plain = tensor.dim() < 2
    if not plain and not _is_constant(tensor.reshape(-1)):
        return tensor
    size = NOISE if plain else 1 / sqrt(max(tensor[0].numel(), 1))
    return tensor + size * torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)


def _is_constant(numbers: Tensor) -> bool:
    """Return whether all numbers are the same, which the first ones mostly tell."""
    return all(bool((part == numbers[0]).all()) for part in (numbers[:1024], numbers))
