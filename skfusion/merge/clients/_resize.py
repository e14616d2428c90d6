"""Give a copy of a module other widths: those of the tensors of a state."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from skfusion.merge._base import layer_of
from skfusion.objective import call, evaluating
from skfusion.state import State

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RESIZED = (nn.Linear, *_CONVOLUTIONS, *_NORMS)
"""Layers whose width can be changed."""


def resized(module: nn.Module, state: State, x: Any = None) -> nn.Module:
    """Return a copy of a module with the weights of a state, whose layers may have other widths.

    Parameters
    ----------
    module : nn.Module
        Not changed.
    state : State
        All tensors of the module, of linear layers, convolutions and BatchNorm in any width.
    x : Tensor or dict of Tensor, optional
        Inputs, to see that the copy runs.

    Returns
    -------
    nn.Module
        A copy of the module with the weights of the state.

    Raises
    ------
    ValueError
        If a layer of another kind would have to change, or the copy does not run.
    """
    module = deepcopy(module)
    for name, tensor in state.items():
        layer, leaf = module.get_submodule(layer_of(name)), name.rpartition(".")[2]
        own = getattr(layer, leaf)
        if own.shape == tensor.shape:
            continue
        if not isinstance(layer, RESIZED):
            raise ValueError(
                f"Tensor {name!r} has the shape {tuple(tensor.shape)} in the state and {tuple(own.shape)} in the "
                f"module, and {type(layer).__name__} cannot be given another width. Linear layers, convolutions and "
                "BatchNorm can."
            )
        new = torch.zeros(tensor.shape, dtype=own.dtype, device=own.device)
        setattr(layer, leaf, nn.Parameter(new, own.requires_grad) if isinstance(own, nn.Parameter) else new)
    for layer in module.modules():
        _name_widths(layer)
    module.load_state_dict(state)
    if x is not None:
        try:
            with torch.no_grad(), evaluating(module):
                call(module, state, x)
        except RuntimeError as error:
            raise ValueError(
                f"{type(module).__name__} does not run when its layers have other widths: {error}. Where forward "
                "reshapes, let it not name numbers of units: x.flatten(1) in place of x.reshape(-1, 400)."
            ) from error
    return module


def _name_widths(layer: Any) -> None:
    """Set the widths that a layer shows, and that its forward pass may use, to those of its tensors."""
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _CONVOLUTIONS):
        layer.out_channels, layer.in_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    elif isinstance(layer, _NORMS):
        held = next((t for t in (layer.weight, layer.running_mean) if t is not None), None)
        layer.num_features = layer.num_features if held is None else len(held)
