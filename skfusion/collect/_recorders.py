"""Recorders: what a run leaves behind. Checkpoints, the best state, or an average of states; in ``nets`` the last one.

A recorder sees one run, whether that is trained alone or vectorized with others; see :class:`.Recorder`.
To average states in another way, write a :class:`skfusion.average.Average`, which :class:`Averaged` feeds.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch

from skfusion import nets
from skfusion.average import Average, Running
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


class Averaged(Recorder):
    """Leaves an average of the states of a run (SWA, EMA, ...); the last state where none has entered.

    ``repair(module, average, last)`` returns the average as it is to be used, such as with BatchNorm statistics that
    are estimated for it.
    """

    def __init__(self, average: Average, repair: Callable[[Any, State, State], State] | None = None):
        self.average, self.repair = average, repair
        self.by_step = average.unit == "step"
        self.changes_weights = average.changes_run
        self.running: Running | None = None

    def change_weights(self, n_steps: int, net: Any) -> None:
        """Let an average that asks for it change the weights of the run."""
        running = self._begun(n_steps if self.by_step else net.max_epochs)
        running.rewrite(nets.trained_parameters(net, self.average))

    def after_step(self, step: int, n_steps: int, state: State) -> None:
        """Let the state after a step enter."""
        self._begun(n_steps).update(step, state)

    def after_epoch(self, epoch: int, net: Any) -> None:
        """Let the state after an epoch enter, where the average is over epochs."""
        if not self.by_step:
            self._begun(net.max_epochs).update(epoch, net.module_.state_dict())
        if self.average.needs_validation and self.running is not None:
            loss = nets.mean_loss(net, "valid")
            nets.check_validates(net, self.average, held_out=loss is not None)
            self.running.validated(math.nan if loss is None else loss, net.module_.state_dict())

    def _begun(self, total: int) -> Running:
        if self.running is None:
            self.running = self.average.begin(total)
        return self.running

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the average, of a run that has ended."""
        if net is None:
            return []
        (member,) = LastState().members(name, net)
        state, n = member.state, self.running.n if self.running is not None else 0
        if self.running is not None and n:
            last = copy(state)
            for key, tensor in self.running.result().items():
                state[key.replace("_orig_mod.", "")].copy_(tensor)  # which leaves tied tensors tied
            state = state if self.repair is None else self.repair(net.module_, state, last)
        why = None if self.running is None else self.running.shortfall()
        meta = {"n_averaged": max(n, 1)} | ({} if why is None else {"shortfall": why})
        return [member.replace(state=state, meta={**member.meta, **meta})]
