"""What a data-dependent method may ask of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call

from skfusion.state import State

Input = Tensor | dict[str, Tensor]


class Batch(NamedTuple):
    """Some rows: inputs, targets, and weights where the rows do not count alike."""

    x: Input
    y: Tensor
    weight: Tensor | None = None  # shape: (n_rows,)


@dataclass(frozen=True)
class Objective:
    """An architecture with the data to run and to judge states on.

    Parameters
    ----------
    module : nn.Module
        The architecture; its own weights are never read.
    batches : callable
        ``batches()`` iterates over :class:`Batch` of the data that statistics are estimated on.
    loss : callable
        ``loss(state)`` is the mean held-out loss.
    score : callable
        ``score(state)`` is the held-out score, higher is better.
    many_scores : callable, optional
        ``many_scores(states)`` gives the scores of many states, at less cost than one by one.
    many_both : callable, optional
        ``many_both(states)`` gives a pair (loss, score) for each of many states.
    """

    module: nn.Module
    batches: Callable[[], Iterable[Batch]]
    loss: Callable[[State], float]
    score: Callable[[State], float]
    many_scores: Callable[[Iterable[State]], list[float]] | None = None
    many_both: Callable[[Iterable[State]], list[tuple[float, float]]] | None = None

    def scores(self, states: Iterable[State]) -> list[float]:
        """Return the held-out score of each state; states may be made while they are asked for."""
        return self.many_scores(states) if self.many_scores else [self.score(state) for state in states]

    def evaluate(self, states: Iterable[State]) -> list[tuple[float, float]]:
        """Return loss and score of each state; states may be made while they are asked for."""
        return self.many_both(states) if self.many_both else [(self.loss(s), self.score(s)) for s in states]

    def forward(self, state: State, x: Input) -> Tensor:
        """Return the output of ``state`` on ``x`` in the module's present mode; ``state`` is not written."""
        return call(self.module, state, x)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Let a module be in evaluation mode, and give its parts their own modes back, also after an error."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def call(module: nn.Module, state: State, x: Input) -> Tensor:
    """Return ``module(x)`` with the tensors of ``state``; buffers are cloned where training would write to them."""
    out: Tensor | tuple[Tensor, ...] = run(module, state, x)
    return out[0] if isinstance(out, tuple) else out


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
