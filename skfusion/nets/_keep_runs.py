"""What is kept of trainings by skorch: the best or the last epoch of a run, by a callback, and where a run started."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from skfusion.nets._training_callback import mean_loss, state_of
from skfusion.state import State


class KeepsRuns(Callback):
    """See a training by skorch, and hand over one epoch of it when it ends; subclasses say what to do with it.

    That is the epoch of the least validation loss, or the last one where the net holds no rows out, or ``epoch`` is
    "last".
    """

    epoch: str = "best"
    runs_: dict[int, _Run]  # of each net that is being trained, by its id

    @abstractmethod
    def _keep_run(self, net: Any, state: State, start: State, epoch: int, parts: dict[str, Any]) -> None:
        """Keep the state after an epoch; ``parts`` are the rows of the training, and those held out, as (X, y)."""

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Note where a run starts; see :meth:`skorch.callbacks.Callback.on_train_begin`."""
        self.runs_[id(net)] = _Run(state_of(net), (X, y))

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """Note which rows are trained and validated on; see :meth:`skorch.callbacks.Callback.on_epoch_begin`."""
        run, parts = self.runs_[id(net)], {"rows": dataset_train, "held_out": dataset_valid}
        run.parts = {name: _taken(part, *run.data) for name, part in parts.items()}

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Keep the state, if it is the one to keep so far; see :meth:`skorch.callbacks.Callback.on_epoch_end`."""
        run = self.runs_[id(net)]
        loss = mean_loss(net, "valid") if self.epoch == "best" else None
        if loss is None or loss < run.least:
            run.least, run.state, run.epoch = np.inf if loss is None else loss, state_of(net), len(net.history)

    def on_train_end(self, net: Any, **_: Any) -> None:
        """Hand the run over; see :meth:`skorch.callbacks.Callback.on_train_end`."""
        run = self.runs_.pop(id(net))
        if run.state is not None:
            self._keep_run(net, run.state, run.start, run.epoch, run.parts)


@dataclass
class _Run:
    """What is known of a run while it goes; several nets may be trained at once, in threads."""

    start: State
    data: tuple[Any, Any]
    parts: dict[str, Any] = field(default_factory=dict)
    least: float = np.inf
    state: State | None = None
    epoch: int = 0


@contextmanager
def starts_of(net: Any) -> Iterator[list[State]]:
    """Fill a list with the states from which a net starts to train, in this block, without a callback of its own."""
    starts: list[State] = []

    def on_train_begin(self: Any, *args: Any, **params: Any) -> None:
        starts.append(state_of(net))
        type(net).on_train_begin(net, self, *args, **params)

    vars(net)["on_train_begin"] = on_train_begin
    try:
        yield starts
    finally:
        vars(net).pop("on_train_begin", None)


def _taken(part: Any, X: Any, y: Any) -> tuple[Any, Any] | None:
    """Return the rows of a part of a data set; None where there are none, or they are not known."""
    if part is None or y is None:
        return None
    index = getattr(part, "indices", None)
    if index is None:
        return X, y
    try:
        return {k: np.asarray(v)[index] for k, v in X.items()} if isinstance(X, dict) else np.asarray(X)[index], y[
            index
        ]
    except (TypeError, IndexError, KeyError):
        return None
