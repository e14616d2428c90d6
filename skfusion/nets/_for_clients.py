"""Size a net to the rows of clients, which share their numbers of rows, and the moments of inputs and targets."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from sklearn.base import clone
from torch import nn

from skfusion._random import seed_scope
from skfusion._rows import Rows
from skfusion.nets._mlp import pooled_scaling
from skfusion.nets._prepare import initialised, is_net, no_net, sized, task_of
from skfusion.state import State, copy


def sized_for_clients(net: Any, clients: Sequence[Rows], weights: Sequence[float], n_outputs: int) -> Any:
    """Return an unfitted clone of a net that fits the data of clients; see :func:`skfusion.nets.sized`.

    A module class that takes ``scaling`` is given the means and deviations over all clients, of which each has told
    its own. One that asks for more of the data, as ``table``, is refused.
    """
    if not is_net(net):
        raise no_net(net)
    largest = max(clients, key=len)
    if not isinstance(net.module, nn.Module):
        accepted, given = inspect.signature(net.module).parameters, net.get_params(deep=False)
        if "table" in accepted and "module__table" not in given:
            raise ValueError(
                f"{getattr(net.module, '__name__', net.module)} asks for the quantiles of all rows, which no client "
                "has. Take a net that asks for means and deviations, such as skfusion.nets.mlp_classifier() or "
                "mlp_regressor(), or give it module__table."
            )
        if "scaling" in accepted and "module__scaling" not in given:
            pooled = pooled_scaling(clients, task_of(net, largest), weights)
            net = net if pooled is None else clone(net).set_params(module__scaling=pooled)
    return sized(net, largest, n_outputs)


def initial_state(net: Any, rows: Rows, seed: int) -> State:
    """Return the weights with which a training of a sized net by this seed begins; rows are for lazy layers."""
    with seed_scope(seed, net.device):
        return copy({name: tensor.cpu() for name, tensor in initialised(net, rows).state_dict().items()})
