"""Predictions of the sub-networks that dropout leaves of a network (MC dropout)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from skfusion._random import seed_scope
from skfusion._rows import Inputs
from skfusion.nets import Runner
from skfusion.objective import first_output
from skfusion.state import State

_CHANNELS = {nn.Dropout1d: 2, nn.Dropout3d: 4}
"""Axes of an input in which torch sees no samples; ``Dropout2d`` does see them in three."""


def dropouts(module: nn.Module) -> list[_DropoutNd]:
    """Return the dropout modules of a network."""
    return [part for part in module.modules() if isinstance(part, _DropoutNd)]


class DropoutPasses:
    """Networks that predict with some of their units dropped: ``n_passes`` masks of each state, from a seed.

    A pass draws one mask for all rows, so that it is one sub-network: what it predicts for a row does not depend on
    the other rows. All else is in evaluation mode, and no statistics are touched. More passes begin with the masks of
    fewer. The states are on the devices of their runners.
    """

    def __init__(self, runners: Sequence[Runner], states: Sequence[State], n_passes: int, seed: int):
        self.runners, self.states = runners, states
        self.dtype = np.result_type(*(runner.precision for runner in runners))
        seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=(n_passes, len(states)))
        self.seeds = seeds.T.tolist()

    def predict(self, X: Inputs, logs: bool = False) -> np.ndarray:
        """Return the predictions of all sub-networks, all passes of a state in a row; ``logs`` as in ``Runner.read``.

        Their shape is (n_states * n_passes, n_samples, n_outputs).
        """
        predictions = []
        for runner, state, seeds in zip(self.runners, self.states, self.seeds, strict=True):
            chunks = list(runner.chunks(X))
            for seed in seeds:
                out = [first_output(part) for part in _outputs(runner, state, chunks, seed)]
                predictions.append(runner.read(torch.cat(out), logs))
        return np.stack(predictions)


def _outputs(runner: Runner, state: State, chunks: Sequence[Any], seed: int) -> Iterator[Any]:
    """Iterate over the module's outputs for each chunk with one mask."""
    with runner.computing(state) as module, seed_scope(seed), _masked(module) as next_chunk:
        for chunk in chunks:
            next_chunk()
            if isinstance(chunk, dict):
                yield module(**{k: v.clone() for k, v in chunk.items()})
            else:
                yield module(chunk.clone())


@contextmanager
def _masked(module: nn.Module) -> Iterator[Any]:
    """Let dropout modules apply masks that are drawn at their first call; what is yielded starts the next chunk."""
    masks: list[tuple[Tensor, Tensor]] = []
    calls = 0

    def next_chunk() -> None:
        nonlocal calls
        calls = 0

    def apply(part: nn.Module, _args: Any, x: Tensor) -> Tensor:
        nonlocal calls
        if calls == len(masks):
            masks.append(_drawn(part, x))
        shift, scale = masks[calls]
        calls += 1
        return shift + scale * x

    hooks = [part.register_forward_hook(apply) for part in dropouts(module)]
    try:
        yield next_chunk
    finally:
        for hook in hooks:
            hook.remove()


def _drawn(part: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a mask for a row as shift and scale, which is what any kind of dropout is once it is drawn."""
    axes = next((n for kind, n in _CHANNELS.items() if isinstance(part, kind)), None)
    if x.ndim == axes:
        raise ValueError(
            f"{type(part).__name__} is given a tensor of {axes} axes, the first of which it reads as channels, and not "
            "as samples: it drops whole rows, in training too. Use torch.nn.Dropout."
        )
    shape, before = (1, *x.shape[1:]), torch.get_rng_state()
    part.train()
    try:
        shift = part.forward(torch.zeros(shape, dtype=x.dtype))  # on the CPU: the same masks on any device
        torch.set_rng_state(before)
        scale = part.forward(torch.ones(shape, dtype=x.dtype)) - shift
    finally:
        part.eval()
    return shift.to(x.device), scale.to(x.device)
