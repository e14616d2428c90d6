"""The similarity of the members' representations, layer by layer: linear CKA (Kornblith et al., 2019)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._pytree import tree_leaves

from skfusion.evaluate import PoolOnData
from skfusion.geometry import alignments, gram
from skfusion.state import State
from skfusion.tangent import Linearised

MAX_ROWS = 1000
_NUMBERS = 2**24
"""Numbers that are held at once: activations of a network, and Gram matrices."""


def similarity(data: PoolOnData, random_state: int) -> tuple[dict[str, np.ndarray], int]:
    """Return the similarity of the members' representations, by layer, and how many rows were looked at.

    Each layer with weights has a matrix of CKA between members, in the order in which layers run. Layers that give
    something else than a tensor with an axis of rows are left out.
    """
    layers = dict(_with_weights(data.runner.module))
    first = data.states[0]
    dry = _outputs(data, first, layers, np.arange(min(3, len(data.rows))))
    widths = {name: out[0].numel() for name, out in dry.items()}
    n = min(len(data.rows), MAX_ROWS, max(64, _NUMBERS // max([*widths.values(), 1])))
    index = np.sort(np.random.default_rng(random_state).permutation(len(data.rows))[:n])
    matrices: dict[str, np.ndarray] = {}
    for names in _groups(widths, n, len(data.states)):
        grams: dict[str, list[Tensor]] = {name: [] for name in names}
        for state in data.states:
            for name, out in _outputs(data, state, {name: layers[name] for name in names}, index).items():
                grams[name].append(gram(out).cpu())
        matrices |= {name: alignments(g).numpy() for name, g in grams.items() if len(g) == len(data.states)}
    return matrices, n


def _with_weights(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    tangent = [name for name, part in module.named_modules() if isinstance(part, Linearised)]
    for name, part in module.named_modules():
        if name in tangent:
            yield name, part  # what is inside runs at the start, and its derivative
        if any(name.startswith(f"{outer}." if outer else "") for outer in tangent):
            continue
        weights = [p for p in part._parameters.values() if p is not None and p.dim() > 1]
        if (weights or hasattr(part, "parametrizations")) and not isinstance(part, ParametrizationList):
            yield name, part


def _groups(widths: dict[str, int], n: int, n_members: int) -> Iterator[list[str]]:
    """Cut the layers into runs of which the activations, and Gram matrices of all members, can be held at once."""
    some: list[str] = []
    for name in widths:
        wanted = [*some, name]
        if some and max(sum(widths[w] for w in wanted) * n, len(wanted) * n_members * n * n) > _NUMBERS:
            yield some
            wanted = [name]
        some = wanted
    if some:
        yield some


def _outputs(data: PoolOnData, state: State, layers: dict[str, nn.Module], index: np.ndarray) -> dict[str, Tensor]:
    """Return what layers give for some rows when they first run, in the order in which they do."""
    parts: dict[str, list[Tensor]] = {}
    seen: set[str] = set()

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
            if name not in seen and tensors and tensors[0].dim():
                parts.setdefault(name, []).append(tensors[0].detach().clone())
            seen.add(name)

        return hook

    chunks = list(data.runner.chunks(data.rows.take(index).X))
    data.runner.outputs([state], chunks[:1])  # it may look at the module first
    hooks = [part.register_forward_hook(keep(name)) for name, part in layers.items()]
    try:
        for x in chunks:
            seen.clear()
            data.runner.outputs([state], [x])
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: torch.cat([p.flatten(1) if p.dim() > 1 else p[:, None] for p in some])
        for name, some in parts.items()
        if sum(map(len, some)) == len(index)
    }
