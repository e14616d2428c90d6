"""Progress of runs that are trained in turn, as those of boosting and of proposals with feedback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from skfusion.collect._train_runs import Progress
from skfusion.nets import EpochHook, hand_over
from skfusion.pool import Member
from skfusion.state import State


@contextmanager
def in_turn(
    progress: Progress | None, n_runs: int, members: Sequence[Member], base: State | None = None
) -> Iterator[InTurn]:
    """Report runs that depend on those before them, each of which is trained by one call of ``train``.

    ``members`` are those so far, which an interrupt of the user is given.
    """
    all_runs = progress or Progress()
    all_runs.start(n_runs)
    try:
        yield InTurn(all_runs)
    except KeyboardInterrupt as stop:
        hand_over(stop, members, base)
        raise
    all_runs.finish()


class InTurn(Progress):
    """Progress of all runs, as each call of ``train`` sees it: without the start and the end of all."""

    def __init__(self, progress: Progress):
        self.progress, self.stopped = progress, False

    def begin(self, name: str, n_epochs: int) -> EpochHook | None:
        return self.progress.begin(name, n_epochs)

    def end(self, name: str, members: Sequence[Member]) -> bool:
        self.stopped = bool(self.progress.end(name, members))
        return self.stopped
