"""The mean of the states of a run, taken while it trains (Arpit et al., 2022)."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from skfusion import nets
from skfusion._rows import Rows, Task
from skfusion.pool import Member
from skfusion.repair import Recalibrate, batch_norms
from skfusion.state import State, copy


class RunningMean:
    """The mean of a net's states from a step on; before it, the last state.

    Parameters
    ----------
    start : float or int
        As in :class:`Averages`.
    mend : callable, optional
        Returns the mean with other BatchNorm statistics, as ``mend(mean, last)``, where the net has some.
    """

    def __init__(self, start: float, mend: Callable[[State, State], State] | None = None):
        self.start, self.mend, self.n = start, mend, 0
        self.normalises = False
        self.sums: list[Tensor] = []

    def __call__(self, step: int, steps_per_epoch: int, net: Any) -> None:
        """Let the state after a step enter, if it is late enough."""
        total = steps_per_epoch * net.max_epochs
        if step < (self.start - 1 if isinstance(self.start, Integral) else int(self.start * total)):
            return
        tensors = averaged(net.module_.state_dict())  # anew each time, for a module may put others in their place
        if self.n:
            torch._foreach_add_(self.sums, tensors)
        else:
            self.normalises = bool(batch_norms(net.module_))
            self.sums = [t.to(_wide(t), copy=True) for t in tensors]
        self.n += 1

    def member(self, member: Member) -> Member:
        """Return the member with the mean in place of its state."""
        state = member.state
        if self.n:
            last = copy(state)
            for t, total in zip(averaged(state), self.sums, strict=True):
                t.copy_(total / self.n)
            if self.mend is not None and self.normalises:
                state = self.mend(state, last)
        return member.replace(state=state, meta={**member.meta, "n_averaged": max(self.n, 1)})


def recalibrated(net: Any, rows: Rows, task: Task, state: State, last: State) -> State:
    """Return a mean of states with BatchNorm statistics of its own; it stays as it is where it is the last state.

    Parameters
    ----------
    net : skorch net
        Sized to the data.
    rows : Rows
        Training data.
    task : {"classification", "multilabel", "regression"}
        What the targets are.
    state : State
        The mean.
    last : State
        The last state, to which the training gave its statistics.

    Returns
    -------
    State
        On the CPU.
    """
    runner = nets.Runner(net, task, rows)
    data = nets.Judge(runner, rows, rows)
    mended = Recalibrate()(runner.place(state), [runner.place(last)], data)
    return {k: v.cpu() for k, v in mended.items()}


def averaged(state: State) -> list[Tensor]:
    """Return the tensors of a state that have means."""
    return [t for t in state.values() if t.is_floating_point() or t.is_complex()]


def _wide(t: Tensor) -> torch.dtype:
    if t.device.type == "mps":  # has no float64
        return torch.promote_types(t.dtype, torch.float32)
    return torch.promote_types(t.dtype, torch.float64)
