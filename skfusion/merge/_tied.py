"""Which names of a state are names of one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from skfusion.state import State, owners


def tied(states: Sequence[State], module: nn.Module) -> dict[str, str]:
    """Map each name to the first name of its tensor.

    Names are tied where they share memory in all states, or where the module ties them and all states agree; states
    that come from files have often lost the first kind.
    """
    owner_of = owners(states)
    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if name in owner_of:
            owner = first.setdefault(id(parameter), owner_of[name])
            if owner != owner_of[name] and all(torch.equal(s[owner], s[name]) for s in states):
                owner_of = {key: owner if held == owner_of[name] else held for key, held in owner_of.items()}
    return owner_of


def key_of(layer: str, tensor: str) -> str:
    """Return the name in a state of a tensor that the module named ``layer`` holds."""
    return f"{layer}.{tensor}" if layer else tensor


def layer_of(name: str) -> str:
    """Return the name of the module that holds the tensor of this name."""
    return name.rpartition(".")[0]
