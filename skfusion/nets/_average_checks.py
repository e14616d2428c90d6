"""Nets and callbacks with which no average can be left in a module: what is said before they train."""

from __future__ import annotations

from typing import Any

from skorch import callbacks as known
from skorch.callbacks import Checkpoint, EarlyStopping, ParamMapper, TrainEndCheckpoint

from skfusion.average import Average
from skfusion.nets._optimizer_modes import optimizers_with_modes
from skfusion.nets._training_callback import LastState, Watch, check_validates

BLIND = {known.EpochTimer, known.PassthroughScoring, known.PrintLog, known.LRScheduler, known.GradientNormClipping}
"""Callbacks that do not look at the weights of a net after an epoch."""


def validates_average(callback: Any) -> bool:
    """Return whether the average is in the module while the net validates."""
    if callback.validate is None:
        return not callback.average.needs_validation
    return bool(callback.validate == "averaged")


def check(callback: Any, net: Any) -> None:
    """Raise where the average cannot be taken of a net, or where another callback would undo it."""
    average, validate = callback.average, callback.validate
    if not isinstance(average, Average):
        raise TypeError(f"average must be an average of skfusion.average, such as EMA(0.999); got {average!r}.")
    if validate not in (None, "averaged", "raw"):
        raise ValueError(f"validate must be 'averaged', 'raw' or None; got {validate!r}.")
    if average.needs_validation:
        check_validates(net, average)
        if validate == "averaged":
            raise ValueError(f"{average!r} asks for the loss of the raw weights: give validate='raw', or leave it out.")
    if len(net._modules) != 1:
        raise ValueError(f"AverageWeights averages the net's module_, and {type(net).__name__} has {net._modules}.")
    if optimizers_with_modes(net):
        raise ValueError(
            "The net's optimiser has the methods train() and eval(), as schedule-free ones have, whose weights are an "
            "average already. Leave AverageWeights out, or take another optimiser."
        )
    average.begin(1)  # which checks its parameters
    if sum(type(other) is type(callback) for _, other in net.callbacks_) > 1:  # also one and the same, twice
        raise ValueError("The net has two AverageWeights, and its module can hold one average. Remove one.")
    before = True
    for name, other in net.callbacks_:
        if other is callback:
            before = False
        elif isinstance(other, Watch):
            _check_recorder(other)
        else:
            _check_other(name, other, before, validates_average(callback))


def _check_other(name: str, other: Any, before: bool, averaged: bool) -> None:
    loads = isinstance(other, (EarlyStopping, Checkpoint)) and other.load_best
    acts = loads or isinstance(other, (TrainEndCheckpoint, ParamMapper))
    if acts and before:
        raise ValueError(
            f"Put AverageWeights before {name!r} in the net's list of callbacks: {type(other).__name__} loads, saves "
            "or changes weights, and must meet those that AverageWeights leaves."
        )
    if loads and not averaged:
        raise ValueError(
            f"{name!r} has load_best=True, and would put the raw weights of the best epoch in the place of the "
            "average. Leave load_best out, or let AverageWeights validate='averaged'."
        )


def _check_recorder(watch: Watch) -> None:
    if watch.recorder is not None and not isinstance(watch.recorder, LastState):
        raise ValueError(
            "The net has the callback AverageWeights, which leaves its average when a run ends, and the collector "
            f"keeps states while it goes, by {type(watch.recorder).__name__}. Take the callback from the net, or a "
            "collector of last states, such as Seeds; collect=Averages(average=...) averages without a callback."
        )
