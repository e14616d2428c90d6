"""The callback by which a training is steered and recorded: learning rates, the loss, and states as they come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from skorch.callbacks import Callback
from torch import nn

from skfusion.nets._live_state import LiveState
from skfusion.nets._optimizer_modes import evaluating, optimizers_of, optimizers_with_modes
from skfusion.nets._prepare import criterion_type
from skfusion.pool import Member
from skfusion.state import State, map_tensors

Schedule = Callable[[int, int], float]
"""``schedule(step, steps_per_epoch)`` is the factor on the net's learning rate at an optimiser step, from 0."""

EpochHook = Callable[[int, Any], bool | None]
"""``hook(epoch, net)`` runs after each epoch, counted from 1; a true result ends the training."""


class DivergedError(ValueError):
    """The loss of a network became NaN or infinite in training.

    Parameters
    ----------
    message : str
        What happened, and what helps.
    epoch : int, default=0
        The epoch in which it happened, from 1.
    pool : ModelPool, optional
        The members that did not diverge.
    """

    def __init__(self, message: str, epoch: int = 0, pool: Any = None):
        super().__init__(message)
        self.epoch, self.pool = epoch, pool

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.epoch, self.pool)


class Recorder(ABC):
    """Keep what one training run leaves behind, whether the run is trained alone or vectorized with others.

    A subclass defines :meth:`members`, and looks at the run by :meth:`after_epoch` or :meth:`after_step`. A
    :class:`~skfusion.collect.Run` takes the class, as ``recorder``, because each run has a recorder of its own.

    Attributes
    ----------
    by_step : bool
        Whether it asks for the states after single steps, too.
    changes_weights : bool
        Whether it changes the weights of the run after each step, by :meth:`change_weights`.
    net : skorch net or None
        What the members run in, where that is another net than the run's; each of them carries it.
    """

    by_step: bool = False
    changes_weights: bool = False
    net: Any = None

    def change_weights(self, n_steps: int, net: Any) -> None:  # noqa: B027  most leave the run as it is
        """Change the trained parameters in place, after an optimiser step and before its state is seen.

        Parameters
        ----------
        n_steps : int
            Steps that the run takes in all.
        net : skorch net
            Its module is changed.
        """

    def after_step(self, step: int, n_steps: int, state: State) -> None:  # noqa: B027  not all ask for steps
        """See the state after an optimiser step.

        Parameters
        ----------
        step : int
            Counted from 1; 0 is the state before the first step.
        n_steps : int
            Steps that the run takes in all.
        state : State
            Tensors that the next step overwrites: copy what shall last.
        """

    def after_epoch(self, epoch: int, net: Any) -> None:  # noqa: B027  the last state needs no epochs
        """See the net after an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 1.
        net : skorch net
            Its module and history go on to change.
        """

    @abstractmethod
    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the members of the run.

        Parameters
        ----------
        name : str
            Of the run; names of members start with it.
        net : skorch net, optional
            Fitted. None where the user has interrupted the run, whose members are those so far.

        Returns
        -------
        list of Member
            Each with its ``meta["epoch"]``, up to which it is given the history.
        """

    def warn_if_incomplete(self, name: str) -> None:  # noqa: B027  most are always complete
        """Warn where the run has ended before all was recorded; not asked where it was ended on purpose.

        Parameters
        ----------
        name : str
            Of the run.
        """


class LastState(Recorder):
    """Leaves the last state of a run as its one member."""

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the last state, of a run that has ended."""
        return [] if net is None else [Member(name, state_of(net), meta={"epoch": len(net.history)})]


@dataclass(frozen=True)
class Run:
    """One training run, of which one or more states become members.

    Parameters
    ----------
    name : str
        Of the run; its members' names start with it.
    seed : int
        Of initialisation, shuffling and dropout.
    index : ndarray of int, optional
        Rows to train on; all when omitted.
    schedule : callable, optional
        Factor on the learning rate by step; see :func:`skfusion.nets.fit`.
    recorder : callable, default=LastState
        Makes the :class:`Recorder` of the run, in the process where it is trained: the class, or a ``partial`` of it.
        It is called anew when a run begins again, as after a vectorized training that had to be given up.
    meta : dict, optional
        Kept with each member.
    params : dict, optional
        Parameters of the net, such as ``lr``, of this run only.
    state : State, optional
        Where to start; a fresh initialisation when omitted. A state from which all runs start is the pool's ``base``.
    net : skorch net, optional
        Sized to the data, where it is another one than that of the collector; its members carry it.
    """

    name: str
    seed: int
    index: np.ndarray | None = None
    schedule: Schedule | None = None
    recorder: Callable[[], Recorder] = LastState
    meta: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    state: State | None = None
    net: Any = None


class Watch(Callback):
    """Sets learning rates, checks the loss, lets the recorder see each epoch or step, and asks whether to go on."""

    def __init__(
        self, schedule: Schedule | None = None, recorder: Recorder | None = None, on_epoch: EpochHook | None = None
    ):
        self.schedule, self.recorder, self.on_epoch = schedule, recorder, on_epoch
        self.records_steps = recorder is not None and (recorder.by_step or recorder.changes_weights)
        self.acts_by_step = self.records_steps or schedule is not None
        self.step = self.epoch = self.steps_per_epoch = 0
        self.rates: list[list[Any]] = []
        self.live: LiveState | None = None
        self.optimizers: list[Any] = []  # that have modes

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **_: Any) -> None:
        self.optimizers = optimizers_with_modes(net)
        if self.acts_by_step and not self.rates:
            self.steps_per_epoch = len(net.get_iterator(dataset_train, training=True))
            self.rates = [[group["lr"] for group in o.param_groups] for o in optimizers_of(net)]

    def on_batch_begin(self, net: Any, training: bool = False, **_: Any) -> None:
        if not training:
            return
        if self.records_steps and self.step == 0:
            self.live = LiveState(net.module_)
            self._after_step(net)
        self.set_rates(net)

    def on_batch_end(self, net: Any, training: bool = False, **_: Any) -> None:
        if training and self.records_steps and self.live is not None:
            self._after_step(net)

    def _after_step(self, net: Any) -> None:
        if self.live is None:
            return
        if self.recorder is not None and self.recorder.changes_weights:
            self.recorder.change_weights(self.steps_per_epoch * net.max_epochs, net)
        with evaluating(self.optimizers):
            self.record_step(net, self.live.now())

    def set_rates(self, net: Any) -> None:
        """Set the learning rates of the next step."""
        if self.schedule is not None:
            factor = self.schedule(self.step, self.steps_per_epoch)
            for optimizer, rates in zip(optimizers_of(net), self.rates, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
        self.step += 1

    def record_step(self, net: Any, state: State) -> None:
        """Let the recorder see the state after the last step."""
        if self.recorder is not None and self.recorder.by_step:
            self.recorder.after_step(self.step, self.steps_per_epoch * net.max_epochs, state)

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        self.epoch += 1
        row = net.history[-1]
        for part in ("train", "valid"):
            loss = mean_loss(net, part)
            if loss is not None and f"{part}_loss" not in row:  # with callbacks="disable" nothing else averages it
                net.history.record(f"{part}_loss", loss)
        if "train_loss" not in row:
            raise ValueError(
                "An epoch has no batch to train on: with drop_last=True the batch_size must be at most the number of "
                "training rows."
            )
        loss = net.history[-1, "train_loss"]
        if not np.isfinite(loss):
            raise DivergedError(
                f"the training loss became {loss} in epoch {self.epoch}. Use a smaller learning rate (it is "
                f"{net.lr:g}), scale the inputs, or clip gradients.{_advice(net)}",
                self.epoch,
            )
        if self.recorder is not None:
            self.recorder.after_epoch(self.epoch, net)
        if self.on_epoch is not None and self.on_epoch(self.epoch, net):
            raise KeyboardInterrupt  # how skorch ends a training early


def _advice(net: Any) -> str:
    advice = " NLLLoss, skorch's default, asks for probabilities: for logits give criterion=CrossEntropyLoss."
    return advice if issubclass(criterion_type(net), nn.NLLLoss) else ""


def state_of(net: Any) -> State:
    """Return a copy of a net's state on the CPU, without the name prefix that ``torch.compile`` adds.

    Parameters
    ----------
    net : skorch net
        Initialised.

    Returns
    -------
    State
        Parameters and buffers; tied tensors stay tied.
    """
    state = {k.replace("_orig_mod.", ""): v for k, v in net.module_.state_dict().items()}
    return map_tensors(lambda t: t.detach().cpu().clone(), state)


def mean_loss(net: Any, part: str) -> float | None:
    """Return the mean loss of the latest epoch over the rows to "train" on or to "valid"; None where there are none."""
    loss, size = f"{part}_loss", f"{part}_batch_size"
    batches = [b for b in net.history[-1]["batches"] if loss in b]
    return float(np.average([b[loss] for b in batches], weights=[b[size] for b in batches])) if batches else None


def check_validates(net: Any, asks: Any, held_out: bool = True) -> None:
    """Raise where a net has no rows that it validates on, which a method asks for."""
    if net.train_split is None or not held_out:
        raise ValueError(
            f"{asks!r} asks for the loss on validation rows after each epoch, and the net holds none out. Give the net "
            "a train_split, such as skorch.dataset.ValidSplit(5)."
        )


def history_of(net: Any) -> list[dict[str, float]]:
    """Return the numbers that a fitted net recorded, losses and others by name, one dict an epoch."""
    skipped = ("batches", "_best")
    return [
        {k: float(v) for k, v in row.items() if isinstance(v, (int, float)) and not k.endswith(skipped)}
        for row in net.history
    ]
