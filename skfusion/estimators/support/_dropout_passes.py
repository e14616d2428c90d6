"""Passes through a network some of whose layers draw random masks: what they draw is drawn once for all rows.

A layer is recognised by what it does and not by its class: it passes its input on in evaluation mode, and draws random
numbers in training mode. Dropout is such a layer, of whatever library, and so are stochastic depth and noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._random import seed_scope
from skfusion._rows import Inputs
from skfusion.nets import Runner
from skfusion.objective import first_output
from skfusion.state import State

_CHANNELS = {nn.Dropout1d: 2, nn.Dropout3d: 4}
"""Axes of an input in which torch sees no samples; ``Dropout2d`` does see them in three."""

Masks = tuple[Tensor, Tensor]
"""What a layer draws, as shift and scale of its input."""


class DropoutPasses:
    """Networks that predict with some of their units dropped: ``n_passes`` masks of each state, from a seed.

    A pass draws one mask for all rows, so that it is one sub-network. More passes begin with the masks of fewer.
    """

    def __init__(self, runners: Sequence[Runner], states: Sequence[State], n_passes: int, seed: int):
        self.runners, self.states = runners, states
        self.dtype = np.result_type(*(runner.precision for runner in runners))
        seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=(n_passes, len(states)))
        self.seeds = seeds.T.tolist()

    def predict(self, X: Inputs, logs: bool = False) -> np.ndarray:
        """Return what all passes of each state predict, shape (n_states * n_passes, n_samples, n_outputs)."""
        predictions = []
        for runner, state, seeds in zip(self.runners, self.states, self.seeds, strict=True):
            chunks = list(runner.chunks(X))
            with runner.computing(state) as module:
                layers = random_layers(module, chunks[0])
                for seed in seeds:
                    with seed_scope(seed), _masked(layers) as next_chunk:
                        outputs = []
                        for chunk in chunks:
                            next_chunk()
                            outputs.append(_output(module, chunk))
                    predictions.append(runner.read(torch.cat(outputs), logs))
        return np.stack(predictions)


def has_random_layers(runner: Runner, X: Inputs) -> bool:
    """Return whether a network has layers that draw random masks in training, by a pass of some rows through it.

    It has them for all that is known where the pass fails, of which training says what is wrong.
    """
    state = {key: tensor.clone() for key, tensor in runner.module.state_dict().items()}
    try:
        with runner.computing(runner.on_device(state)) as module:
            return bool(random_layers(module, next(runner.chunks(X))))
    except Exception:
        return True


def random_layers(module: nn.Module, chunk: Any) -> list[nn.Module]:
    """Return the layers of a network that draw random masks in training, by a pass of two rows through it.

    Only dropout, and layers without tensors and layers of their own, are asked, which training mode cannot change.
    """
    found: dict[int, nn.Module] = {}

    def look(part: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        if len(given) == 1 and isinstance(given[0], Tensor) and isinstance(out, Tensor) and _draws(part, given[0], out):
            found[id(part)] = part

    parts = [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.dropout._DropoutNd)
        or not [*part.children(), *part.parameters(), *part.buffers()]
    ]
    hooks = [part.register_forward_hook(look) for part in parts]
    try:
        _output(module, {k: v[:2] for k, v in chunk.items()} if isinstance(chunk, dict) else chunk[:2])
    finally:
        for hook in hooks:
            hook.remove()
    return [*found.values()]


def _draws(part: nn.Module, x: Tensor, out: Tensor) -> bool:
    """Return whether a layer has passed its input on, and draws random numbers in training mode.

    One whose probability, by the usual name p, is 0 counts where it would draw with another one.
    """
    if out.shape != x.shape or not torch.equal(out.nan_to_num(), x.nan_to_num()):
        return False
    part = copy(part)
    if getattr(part, "p", None) == 0:
        part.p = 0.5
    with seed_scope(0):
        before = torch.get_rng_state()
        _in_training(part, torch.ones(x.shape, dtype=x.dtype))
        return not torch.equal(torch.get_rng_state(), before)


def _in_training(part: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer makes of a tensor on the CPU in training mode."""
    part.train()
    try:
        return part.forward(x)
    finally:
        part.eval()


def _output(module: nn.Module, chunk: Any) -> Tensor:
    x = {k: v.clone() for k, v in chunk.items()} if isinstance(chunk, dict) else chunk.clone()
    return first_output(module(**x) if isinstance(x, dict) else module(x))


@contextmanager
def _masked(layers: Sequence[nn.Module]) -> Iterator[Any]:
    """Let layers apply masks that are drawn at their first call; what is yielded starts the next chunk."""
    masks: list[Masks] = []
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

    hooks = [part.register_forward_hook(apply) for part in layers]
    try:
        yield next_chunk
    finally:
        for hook in hooks:
            hook.remove()


def _drawn(part: nn.Module, x: Tensor) -> Masks:
    """Return a mask for a row as shift and scale, which is what any kind of dropout is once it is drawn.

    The axis of ``x`` that counts rows is the first, or the one that the layer names as its ``sample_axis``.
    """
    name, axis = type(part).__name__, getattr(part, "sample_axis", 0)
    axes = next((n for kind, n in _CHANNELS.items() if isinstance(part, kind)), None)
    if x.ndim == axes:
        raise ValueError(
            f"{name} is given a tensor of {axes} axes, the first of which it reads as channels, and not as samples: it "
            "drops whole rows, in training too. Use torch.nn.Dropout."
        )
    one = x.narrow(axis, 0, 1).detach().cpu()  # on the CPU: the same masks on any device
    before = torch.get_rng_state()
    shift = _in_training(part, torch.zeros_like(one))

    def again(value: Tensor) -> Tensor:
        torch.set_rng_state(before)
        return _in_training(part, value)

    scale = again(torch.ones_like(one)) - shift
    if not torch.allclose(again(one.clone()), shift + scale * one, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError(
            f"{name} draws random numbers, and does not scale and shift each number of its input by them, so that it "
            "has no mask that all rows could share. Use torch.nn.Dropout."
        )
    return shift.to(x.device), scale.to(x.device)
