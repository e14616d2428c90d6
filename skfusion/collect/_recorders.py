"""Recorders: what a run leaves behind. Checkpoints, the best state, or an average of states; in ``nets`` the last one.

A recorder sees one run, whether that is trained alone or vectorized with others; see :class:`.Recorder`.
To average states in another way (SWA, EMA, LAWA, ...), write an :class:`Average`, and let :class:`Averaged` feed it.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Protocol

import torch
from torch import Tensor

from skfusion import nets
from skfusion.nets import LastState, Recorder
from skfusion.pool import Member
from skfusion.state import State, copy


class Checkpoints(Recorder):
    """Leaves the states after some ``epochs``, counted from 1, or the last one where the run ends before them."""

    def __init__(self, epochs: Sequence[int]):
        self.epochs = epochs
        self.kept: list[tuple[int, State]] = []

    def after_epoch(self, epoch: int, net: Any) -> None:
        """Keep the state where the epoch is one of those that were asked for."""
        if epoch in self.epochs:
            self.kept.append((epoch, nets.state_of(net)))

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the checkpoints so far."""
        checkpoints = [Member(f"{name}-epoch-{epoch}", state, meta={"epoch": epoch}) for epoch, state in self.kept]
        return checkpoints or LastState().members(name, net)

    def warn_if_incomplete(self, name: str) -> None:
        """Warn where the run has ended before the last checkpoint."""
        n = len(self.kept)
        if n == len(self.epochs):
            return
        rest = f"there are {n} members" if n > 1 else "there is 1 member" if n else "its last state is the only member"
        warnings.warn(
            f"The run {name!r} ended before the state of epoch {self.epochs[n]} could be kept, and {len(self.epochs)} "
            f"states were to be kept, the last one after epoch {self.epochs[-1]}: {rest}. Take the callback that ends "
            "the training, such as EarlyStopping, from the net, or let it wait longer.",
            stacklevel=3,
        )


class LastStates(Recorder):
    """Leaves the last ``n`` states of a run, ``every`` epochs apart, counted from its end, wherever that is.

    There are fewer where the run is too short for them. The last one is what the training leaves: where a callback
    loads the best state when it ends, as early stopping does, what came after that is left out.
    """

    def __init__(self, n: int, every: int = 1):
        self.n, self.every, self.epoch = n, every, 0
        self.kept: deque[State] = deque(maxlen=(n - 1) * every + 1)

    def after_epoch(self, epoch: int, net: Any) -> None:
        """Keep the state until enough later ones are kept."""
        self.kept.append(nets.state_of(net))
        self.epoch = epoch

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the latest states so far, in the order of the epochs."""
        end = self.epoch if net is None else len(net.history)  # an epoch more, where a callback has ended the training
        if net is not None:
            left = nets.state_of(net)
            alike = [i for i, state in enumerate(self.kept) if all(torch.equal(t, left[k]) for k, t in state.items())]
            end = self.epoch - len(self.kept) + 1 + alike[-1] if alike else end
        members = []
        for rank, epoch in enumerate(range(end, self.epoch - len(self.kept), -self.every)[: self.n], start=1):
            final = net is not None and epoch == end
            state = left if final else self.kept[epoch - self.epoch - 1]
            members.append(Member(f"{name}-last-{rank}", state, meta={"epoch": epoch}))
        return members[::-1]


class BestState(Recorder):
    """Leaves the state after the epoch in which ``monitor``, a column of the net's history, was lowest."""

    def __init__(self, monitor: str = "valid_loss"):
        self.monitor, self.lowest = monitor, math.inf
        self.best: Member | None = None

    def after_epoch(self, epoch: int, net: Any) -> None:
        """Keep the state where its number is lower than that of all epochs before."""
        if self.monitor not in net.history[-1]:
            raise ValueError(
                f"The best state is that of the lowest {self.monitor!r}, which the net does not log; it logs "
                f"{sorted(nets.history_of(net)[-1])}. Give the net a train_split, or monitor one of these."
            )
        value = float(net.history[-1, self.monitor])
        if value < self.lowest:
            self.lowest = value
            self.best = Member("best", nets.state_of(net), meta={"epoch": epoch, self.monitor: value})

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the best state so far."""
        return LastState().members(name, net) if self.best is None else [self.best.replace(name=name)]


class Average(Protocol):
    """Makes one state of many, which it sees one after another and need not keep."""

    def update(self, step: int, state: State) -> None:
        """See the state after a step. Its tensors are overwritten by the next step: copy what shall last."""

    def result(self) -> State:
        """Return the average of the tensors that have one, by name; others are taken from the last state."""


class Averaged(Recorder):
    """Leaves an average of the late states of a run (SWA, EMA, ...); the last state where there is no late one.

    ``average`` makes an :class:`Average`, such as :class:`RunningMean`, of the states after steps or, unless
    ``by_step``, after epochs; :func:`burn_in_of` says which is the first. ``repair(module, average, last)`` returns the
    average as it is to be used, such as with BatchNorm statistics that are estimated for it.
    """

    def __init__(
        self,
        average: Callable[[], Average],
        burn_in: float,
        by_step: bool = True,
        repair: Callable[[Any, State, State], State] | None = None,
    ):
        self.average, self.burn_in, self.by_step, self.repair = average(), burn_in, by_step, repair
        self.n = 0

    def after_step(self, step: int, n_steps: int, state: State) -> None:
        """Let the state after a step enter, if it is late enough."""
        if step >= burn_in_of(self.burn_in, n_steps):
            self._enter(step, state)

    def after_epoch(self, epoch: int, net: Any) -> None:
        """Let the state after an epoch enter, if the average is over epochs and it is late enough."""
        if not self.by_step and epoch > burn_in_of(self.burn_in, net.max_epochs):
            self._enter(epoch, net.module_.state_dict())

    def _enter(self, step: int, state: State) -> None:
        self.average.update(step, state)
        self.n += 1

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the average, of a run that has ended."""
        if net is None:
            return []
        (member,) = LastState().members(name, net)
        state = member.state
        if self.n:
            last = copy(state)
            for key, tensor in self.average.result().items():
                state[key.replace("_orig_mod.", "")].copy_(tensor)  # which leaves tied tensors tied
            state = state if self.repair is None else self.repair(net.module_, state, last)
        return [member.replace(state=state, meta={**member.meta, "n_averaged": max(self.n, 1)})]


class RunningMean:
    """The arithmetic mean of states, an :class:`Average`: sums in float64, and one copy of the state."""

    def __init__(self) -> None:
        self.n = 0
        self.sums: list[Tensor] = []
        self.names: list[str] = []

    def update(self, step: int, state: State) -> None:
        """Add a state."""
        tensors = {k: t for k, t in state.items() if t.is_floating_point() or t.is_complex()}
        if self.n:
            torch._foreach_add_(self.sums, [*tensors.values()])
        else:
            self.names, self.sums = [*tensors], [t.to(_wide(t), copy=True) for t in tensors.values()]
        self.n += 1

    def result(self) -> State:
        """Return the mean of all tensors but integers."""
        return {name: total / self.n for name, total in zip(self.names, self.sums, strict=True)}


def burn_in_of(burn_in: float, total: int) -> int:
    """Return how many of ``total`` epochs or steps are burn-in; this is what ``burn_in`` means everywhere.

    A float from 0 to 1 is a share of the epochs that the net is trained for (``max_epochs``), or of the steps in these
    epochs where states are averaged step by step, and is rounded down. An int is the number of the first epoch or step
    that counts, from 1.
    """
    return burn_in - 1 if isinstance(burn_in, Integral) and burn_in else int(burn_in * total)


def _wide(t: Tensor) -> torch.dtype:
    if t.device.type == "mps":  # has no float64
        return torch.promote_types(t.dtype, torch.float32)
    return torch.promote_types(t.dtype, torch.float64)
