"""The common start of members that are fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from torch import Tensor, nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.pool import Member
from skfusion.state import State, check_finite, copy


def start_and_split(net: Any, rows: Rows, init: Any, seed: int) -> tuple[State, dict[str, Any]]:
    """Return the state from which all members start, and parameters of the net for their training.

    Where the start is trained on the rows, members validate on those that it has validated on, in ``train_split``:
    others would not be new to them.
    """
    trained = not isinstance(net.module, nn.Module) if init is None else isinstance(init, Integral)
    split = nets.fixed_split(net, rows, seed) if trained else None
    params = {} if split is None else {"train_split": split}
    return common_start(clone(net).set_params(**params) if params else net, rows, init, seed), params


def common_start(net: Any, rows: Rows, init: Any, seed: int) -> State:
    """Return the state that ``init`` of :class:`~skfusion.collect.FineTunes` asks for, as a copy on the CPU."""
    init = init.estimator if isinstance(init, FrozenEstimator) else init
    if init is None and isinstance(net.module, nn.Module):
        return copy(net.module.state_dict())
    if init is None or (isinstance(init, Integral) and not isinstance(init, bool)):
        if init is not None and init < 1:
            raise ValueError(f"init must be at least 1 epoch to train first; got {init}.")
        first = net if init is None else clone(net).set_params(max_epochs=int(init))
        return nets.state_of(nets.fit(first, rows, seed))
    if isinstance(init, Member):
        given = init.state
    elif isinstance(init, Mapping) and init and all(isinstance(t, Tensor) for t in init.values()):
        given = dict(init)
    elif nets.is_net(init) and getattr(init, "initialized_", False):
        given = nets.state_of(init)
    elif nets.is_net(init):
        raise ValueError(
            "init is a net without weights: it was not fitted, or scikit-learn's clone has dropped them. Give "
            "init=net.module_.state_dict(), or init=FrozenEstimator(net), which clone leaves alone."
        )
    else:
        raise TypeError(
            f"init must be a number of epochs to train first, a state, a Member or a fitted net; got {init!r}."
        )
    check_finite(given, "init")
    return copy({k: v.cpu() for k, v in nets.Runner(net, nets.task_of(net, rows), rows).place(given).items()})
