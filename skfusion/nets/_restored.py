"""Nets with the weights of a state, another module or some of the columns, and how they are pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from skfusion._numbers import to_numpy, to_torch
from skfusion._readable import HasParts
from skfusion.nets._runner import Runner
from skfusion.nets._table_statistics import TableStatistics
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


class OnColumns(nn.Module):
    """A module on some of the columns of its input, which random subspaces and bagging of features train on.

    The columns are a buffer: networks of one architecture see different columns, and a state carries those that it was
    trained on. ``params`` are those of the module for all columns: ``n_in`` becomes the number of columns, and of
    ``scaling`` and ``table`` those of the columns are taken.
    """

    columns: Tensor

    def __init__(self, module: Any, columns: Any, /, **params: Any):
        super().__init__()
        columns = np.asarray(columns, np.int64)
        self.register_buffer("columns", torch.from_numpy(columns.copy()))
        if "n_in" in params:
            params["n_in"] = len(columns)
        if isinstance(scaling := params.get("scaling"), Mapping):
            params["scaling"] = {k: np.asarray(v)[columns] if k.startswith("x_") else v for k, v in scaling.items()}
        if isinstance(table := params.get("table"), TableStatistics):
            params["table"] = table.of_columns(columns)
        self.on_columns = module(**params)

    def forward(self, X: Tensor) -> Any:  # X shape: (n_samples, n_features)
        """Return what the module returns for the columns."""
        return self.on_columns(X.index_select(1, self.columns))


def on_columns(net: Any, columns: Any) -> Any:
    """Return an unfitted net whose module is an :class:`OnColumns`, and which takes all columns.

    The net is sized to all columns; its ``module__`` parameters go on to its own module, which may not be made already.
    """
    module = net.module
    if len(net.get_params(deep=False).get("module__categorical", ())):
        raise ValueError(
            "Members that see other columns would embed other categories, so that they have no common architecture. "
            "Encode the categories by numbers, such as OneHotEncoder's, and leave module__categorical out."
        )
    if isinstance(module, nn.Module):
        raise ValueError(
            "The net was given a module that is made already, which cannot be made anew for fewer columns. Give the "
            "net its class."
        )
    if _is_on_columns(module):
        module = module.args[0]
    return clone(net).set_params(module=partial(OnColumns, module, np.asarray(columns, np.int64)))


def with_columns_of(net: Any, state: State) -> Any:
    """Return a net that fits a state, which may be of a network that sees some of the columns only.

    The net is returned itself where the state is of a network that sees all columns, or the same ones.
    """
    if {name.partition(".")[0] for name in state} != {"columns", "on_columns"}:
        return net
    columns = state["columns"].cpu().numpy()
    if _is_on_columns(net.module) and np.array_equal(net.module.args[1], columns):
        return net
    return on_columns(net, columns)


def _is_on_columns(module: Any) -> bool:
    return isinstance(module, partial) and module.func is OnColumns


class KeepsNetworks(HasParts):
    """A mixin for estimators, before their base: ``state_`` is pickled as arrays, and ``_runner`` is made again."""

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {k: to_numpy(v) if k == "state_" else v for k, v in state.items() if k != "_runner"}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        super().__setstate__({k: to_torch(v) if k == "state_" else v for k, v in stored.items()})
