"""Run a module with the tensors of a state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from skfusion.state import State

Input = Tensor | dict[str, Tensor]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, and restore the modes of its parts afterwards, also after an error."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def call(module: nn.Module, state: State, x: Input) -> Tensor:
    """Return ``module(x)`` with the tensors of ``state``; buffers are cloned where training would write to them."""
    return first_output(run(module, state, x))


def first_output(out: Any) -> Tensor:
    """Return the logits of a module that returns several things by name, or the first of those that come in order."""
    if isinstance(out, Mapping):
        logits: Tensor = out["logits"] if "logits" in out else next(iter(out.values()))
        return logits
    first: Tensor = out[0] if isinstance(out, (tuple, list)) else getattr(out, "logits", out)
    return first


def run(module: nn.Module, state: State, x: Input) -> Any:
    """Return all that the module returns for ``x`` with the tensors of ``state``, tied or not."""
    if any(m.training for m in module.modules()):
        buffers = {name for name, _ in module.named_buffers(remove_duplicate=False)}
        state = {k: v.clone() if k in buffers else v for k, v in state.items()}
    args, kwargs = ((), x) if isinstance(x, dict) else ((x,), {})
    every = {name for name, _ in module.named_modules(remove_duplicate=False)}
    others = every - {name for name, _ in module.named_modules()}  # further names of a part: one sets its tensors
    state = {k: v for k, v in state.items() if k.rpartition(".")[0] not in others} if others else state
    return functional_call(module, state, args, kwargs, tie_weights=False)
