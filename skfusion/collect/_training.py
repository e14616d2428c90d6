"""Runs that are being trained in this process, and what becomes of each: its members, or why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from skfusion import nets
from skfusion.nets import DivergedError, EpochHook, Run, Watch
from skfusion.pool import Member

Result = tuple[list[Member], DivergedError | None]


class Training:
    """A run that is being trained in this process, with its recorder and the hook that may end it."""

    def __init__(self, run: Run, hook: EpochHook | None = None):
        self.run, self.hook = run, hook
        self.answers: dict[int, bool] = {}  # of the hook, which sees each epoch once, also of a run that begins again
        self.begin()

    def begin(self) -> None:
        self.recorder = self.run.recorder()
        self.watch = Watch(self.run.schedule, self.recorder, self.on_epoch)
        self.stopped = False
        self.done: list[Member] | None = None

    def on_epoch(self, epoch: int, net: Any) -> bool:
        if epoch not in self.answers:
            self.answers[epoch] = bool(self.hook is not None and self.hook(epoch, net))
        self.stopped = self.answers[epoch]
        return self.stopped

    def members(self, fitted: Any = None) -> list[Member]:
        """Return the members of a fitted net, or, when it is interrupted, those so far."""
        if self.done is not None:
            return self.done
        meta = {**self.run.meta, "seed": self.run.seed}
        members = [m.replace(meta={**meta, **m.meta}) for m in self.recorder.members(self.run.name, fitted)]
        if fitted is not None:
            history = nets.history_of(fitted)
            members = [m.replace(meta={**m.meta, "history": history[: m.meta["epoch"]]}) for m in members]
            self.done = members
        return members

    def result(self, fitted: Any) -> Result:
        """Return the members of the run, or why there are none."""
        if isinstance(fitted, DivergedError):
            return [], DivergedError(f"Member {self.run.name!r} diverged: {fitted}", fitted.epoch)
        if not self.stopped:
            self.recorder.warn_if_incomplete(self.run.name)
        return self.members(fitted), None


@contextmanager
def kept_on_interrupt(trainings: Sequence[Training]) -> Iterator[None]:
    """Give an interrupt of the user the members of runs so far, by the names of the runs, as its ``kept``."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.kept = {}  # type: ignore[attr-defined]
        for training in trainings:
            with suppress(Exception):  # of a recorder, which may not hide that the user has interrupted
                stop.kept[training.run.name] = training.members()  # type: ignore[attr-defined]
        raise
