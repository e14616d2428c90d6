"""Networks that see some of the columns only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from skfusion.nets._table_statistics import TableStatistics
from skfusion.state import State


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
