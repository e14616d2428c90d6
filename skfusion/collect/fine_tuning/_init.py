"""The common start of members that are fine-tuned."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from torch import Tensor, nn

from skfusion import nets
from skfusion._rows import Rows, Task
from skfusion.pool import Member
from skfusion.state import State, check_finite, copy


def start_and_split(net: Any, rows: Rows, task: Task, start: Any, seed: int) -> tuple[State, dict[str, Any]]:
    """Return the state from which all members start, and parameters of theirs; see :func:`common_start`.

    Where the start is trained on the rows, members validate on those that it has validated on, in ``train_split``:
    others would not be new to them.
    """
    trained = not isinstance(net.module, nn.Module) if start is None else isinstance(start, Integral)
    split = nets.fixed_split(net, rows, task, seed) if trained else None
    own = {} if split is None else {"train_split": split}
    return common_start(clone(net).set_params(**own) if own else net, rows, task, start, seed), own


def common_start(net: Any, rows: Rows, task: Task, start: Any, seed: int) -> State:
    """Return the state from which all members start, on the CPU.

    Parameters
    ----------
    net : skorch net
        Sized to the data.
    rows : Rows
        To train on first, where ``start`` asks for it.
    task : {"classification", "multilabel", "regression"}
        What the targets are.
    start : None, int, State, Member, or fitted net
        See :class:`~skfusion.collect.FineTunes`.
    seed : int
        Of the training.

    Returns
    -------
    State
        A copy that shares no memory with ``start``.
    """
    start = start.estimator if isinstance(start, FrozenEstimator) else start
    if start is None and isinstance(net.module, nn.Module):
        return copy(net.module.state_dict())
    if start is None or (isinstance(start, Integral) and not isinstance(start, bool)):
        if start is not None and start < 1:
            raise ValueError(f"start must be at least 1 epoch to train first; got {start}.")
        first = net if start is None else clone(net).set_params(max_epochs=int(start))
        return nets.state_of(nets.fit(first, rows, task, seed))
    if isinstance(start, Member):
        given = start.state
    elif isinstance(start, Mapping) and start and all(isinstance(t, Tensor) for t in start.values()):
        given = dict(start)
    elif nets.is_net(start) and getattr(start, "initialized_", False):
        given = nets.state_of(start)
    elif nets.is_net(start):
        raise ValueError(
            "start is a net without weights: it was not fitted, or scikit-learn's clone has dropped them. Give "
            "start=net.module_.state_dict(), or start=FrozenEstimator(net), which clone leaves alone."
        )
    else:
        raise TypeError(
            f"start must be a number of epochs to train first, a state, a Member or a fitted net; got {start!r}."
        )
    check_finite(given, "start")
    return copy({k: v.cpu() for k, v in nets.Runner(net, task, rows).place(given).items()})


def warn_of_unused_weights(net: Any, collect: Any) -> None:
    """Warn where members have a common start, and it is not the weights of a net that is fitted."""
    fitted = getattr(net, "initialized_", False) and not isinstance(net.module, nn.Module)
    if fitted and getattr(collect, "start", 0) is None:
        warnings.warn(
            f"The net is fitted, and {collect!r} does not start from its weights: as everywhere in scikit-learn, fit "
            "begins anew. To fine-tune it, give start=net.module_.state_dict().",
            stacklevel=4,
        )
