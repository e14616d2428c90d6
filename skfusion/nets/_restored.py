"""Nets with the weights of a state or another module, and how estimators that keep networks are pickled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from torch import Tensor, nn

from skfusion._component import HasParts
from skfusion._numbers import to_numpy, to_torch
from skfusion.nets._columns import with_columns_of
from skfusion.nets._runner import Runner
from skfusion.objective import first_output
from skfusion.state import State


def restored(net: Any, state: State, classes: Any = None, scaling: Any = None) -> Any:
    """Return a fitted skorch net with copies of the weights of ``state``.

    ``classes`` are what the net's outputs stand for. ``scaling`` has the shift and the scale of each output: outputs
    times the scale plus the shift, in float64, are values; the net has them in ``target_scale_``. A copy of the net
    that is fitted anew sees the same columns.
    """
    runner = Runner(with_columns_of(net, state), "regression")
    runner.module.load_state_dict(runner.place(state))
    if classes is not None:
        runner.net.classes_inferred_ = np.asarray(classes)
    if scaling is not None:
        runner.net.target_scale_ = dict(zip(("shift", "scale"), scaling, strict=True))
        runner.module.register_forward_hook(partial(_in_units, *scaling))
    return runner.net


def _in_units(shift: Sequence[float], scale: Sequence[float], _module: nn.Module, _args: Any, out: Any) -> Tensor:
    wide = first_output(out).double()
    return wide * wide.new_tensor(scale) + wide.new_tensor(shift)


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


class KeepsNetworks(HasParts):
    """A mixin for estimators, before their base: ``state_`` is pickled as arrays, and ``_runner`` is made again."""

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {k: to_numpy(v) if k == "state_" else v for k, v in state.items() if k != "_runner"}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        super().__setstate__({k: to_torch(v) if k == "state_" else v for k, v in stored.items()})
