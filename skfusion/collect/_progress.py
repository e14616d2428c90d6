"""What is told of the work of a collector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from skfusion.pool import Member

EpochHook = Callable[[int, Any], bool | None]


class Progress(Protocol):
    """What a collector tells of its work, run by run."""

    def start(self, n_runs: int) -> None:
        """The work starts; it has that many runs."""

    def finish(self) -> None:
        """The work is done."""

    def begin(self, name: str, n_epochs: int) -> EpochHook | None:
        """A run starts in this process; the result is called as ``hook(epoch, net)`` and may end the run."""

    def end(self, name: str, members: Sequence[Member]) -> bool:
        """A run is done; a true result asks for no further runs."""


def once(hook: EpochHook) -> EpochHook:
    """Return a hook that is told of each epoch once: a run that leaves a stack is trained again from its start."""
    answers: dict[int, bool] = {}

    def told(epoch: int, net: Any) -> bool:
        if epoch not in answers:
            answers[epoch] = bool(hook(epoch, net))
        return answers[epoch]

    return told
