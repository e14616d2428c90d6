"""Nets with the weights of a state, and with another module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from torch import Tensor, nn

from skfusion.nets._columns import with_columns_of
from skfusion.nets._runner import Runner
from skfusion.objective import first_output
from skfusion.state import State


def restored(net: Any, state: State, classes: Any = None, scaling: Any = None) -> Any:
    """Return a fitted skorch net with the weights of ``state``.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    state : State
        The weights.
    classes : array-like, optional
        What the net's outputs stand for.
    scaling : tuple of sequence of float, optional
        Shift and scale of each output: the module's outputs times the scale plus the shift, in float64, are its values.

    Returns
    -------
    skorch net
        Initialised; its module holds copies of the weights. A copy of it that is fitted anew sees the same columns.
    """
    runner = Runner(with_columns_of(net, state), "regression")
    runner.module.load_state_dict(runner.place(state))
    if classes is not None:
        runner.net.classes_inferred_ = np.asarray(classes)
    if scaling is not None:
        runner.module.register_forward_hook(_InUnits(*scaling))
    return runner.net


class _InUnits:
    """A hook that turns outputs into values; a pool that is made of the net reads the scale off it."""

    def __init__(self, shift: Sequence[float], scale: Sequence[float]):
        self.target_scale = {"shift": list(shift), "scale": list(scale)}

    def __call__(self, _module: nn.Module, _args: Any, out: Any) -> Tensor:
        wide = first_output(out).double()
        return wide * wide.new_tensor(self.target_scale["scale"]) + wide.new_tensor(self.target_scale["shift"])


def with_module(net: Any, module: nn.Module) -> Any:
    """Return an unfitted net with another module, given as an instance.

    Parameters
    ----------
    net : skorch net
        Not changed.
    module : nn.Module
        Whose weights a training starts from.

    Returns
    -------
    skorch net
        With the parameters of the net, but for those of its module.
    """
    params = {k: v for k, v in clone(net).get_params(deep=False).items() if not k.startswith("module__")}
    return type(net)(**{**params, "module": module})
