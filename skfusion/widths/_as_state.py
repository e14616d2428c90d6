"""A copy of a module in the widths of a state."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from skfusion.state import State
from skfusion.tracing import Example, arguments_of, copied, run, twin
from skfusion.widths._layers import check_kind, refit
from skfusion.widths._resized import copied_with, counts_on_widths, keys_by_layer, refit_by_run


def resized_as(module: nn.Module, state: State, example_inputs: Example | None = None) -> nn.Module:
    """Return a copy of a module with the weights of a state, whose hidden layers may have other numbers of units.

    Layers are those of :func:`resized`, but without groups of channels: a state does not show how many these become.

    Parameters
    ----------
    module : nn.Module
        Not changed.
    state : State
        All tensors of the module, in any widths.
    example_inputs : Tensor, tuple, list or dict, optional
        One batch, to see that the copy runs. Needed where a normalisation has no tensors that show its width.

    Returns
    -------
    nn.Module
        The copy, in the dtypes and on the devices of the module; tied tensors stay tied.

    Raises
    ------
    ValueError
        If a tensor is missing, is not one of the module's, or has other axes; if a layer of no known kind would have to
        change, or the copy does not run.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.widths import resized_as
    >>> narrow, wide = (nn.Sequential(nn.Linear(3, n), nn.ReLU(), nn.Linear(n, 2)) for n in (8, 12))
    >>> copy = resized_as(narrow, wide.state_dict())
    >>> copy[0].out_features, copy[2].in_features
    (12, 12)
    """
    _check(state, module)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    own = parameters | dict(module.named_buffers(remove_duplicate=False))
    changed = {name for name, tensor in own.items() if name in state and state[name].shape != tensor.shape}

    def of_state(name: str, tensor: Tensor) -> Tensor | None:
        return state[name].detach().to(tensor, copy=True) if name in changed else None

    layers = {name: keys for name, keys in keys_by_layer(module).items() if changed.intersection(keys)}
    for name, keys in layers.items():
        if changed.intersection(keys) & parameters.keys():
            check_kind(name, module.get_submodule(name), [key for key in keys if key in changed])
    copy = copied_with(module, of_state)
    for name, keys in layers.items():
        refit(name, copy.get_submodule(name), len(own[keys[0]]), None)
    copy.load_state_dict(state)
    if example_inputs is not None:
        refit_by_run(copy, example_inputs)
        try:
            run(twin(copy), copied(arguments_of(example_inputs)))
        except Exception as error:  # whatever its code raises
            raise counts_on_widths(copy, error) from error
    return copy


def _check(state: State, module: nn.Module) -> None:
    """Raise where a state is not that of the module in other widths."""
    if not isinstance(state, Mapping):
        hint = " Give its state_dict()." if isinstance(state, nn.Module) else ""
        raise TypeError(f"state must be a dict of tensors by name; got {type(state)}.{hint}")
    expected = module.state_dict()
    for key in [*expected, *(k for k in state if k not in expected)]:
        shape, needed = (tuple(getattr(s[key], "shape", ())) if key in s else None for s in (state, expected))
        if shape is None or needed is None:
            why = "has no such tensor" if shape is None else "has such a tensor, and the module has none"
        elif len(shape) != len(needed):
            why = f"has it in the shape {shape}, and the module in the shape {needed}"
        else:
            continue
        raise ValueError(
            f"Tensor {key!r} does not fit: the state {why}. Widths may differ, and all else must be as in "
            f"{type(module).__name__}: make a module of the architecture of the state."
        )
