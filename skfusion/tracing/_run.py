"""Run a module without an effect on its inputs or on the random generators of the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import is_dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from skfusion._random import seed_scope
from skfusion.tracing._call import tensors_among

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
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

    def copy(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.detach().clone().to(dtype if value.is_floating_point() else None)

    out: Inputs = tree_map(copy, inputs)
    return out


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
    before = [get() for get, _ in FUSED]
    try:
        for _, switch in FUSED:
            switch(False)
        yield
    finally:
        for (_, switch), value in zip(FUSED, before, strict=True):
            switch(value)


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
