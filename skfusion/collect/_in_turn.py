"""Progress of runs that are trained in turn, as those of boosting and of proposals with feedback."""

from __future__ import annotations

from collections.abc import Sequence

from skfusion.collect._run import Progress
from skfusion.nets import EpochHook
from skfusion.pool import Member


class InTurn(Progress):
    """Progress of runs that depend on those before them, each of which is trained by one call of ``train``."""

    def __init__(self, progress: Progress | None, n_runs: int):
        self.progress, self.stopped = progress or Progress(), False
        self.progress.start(n_runs)

    def begin(self, name: str, n_epochs: int) -> EpochHook | None:
        return self.progress.begin(name, n_epochs)

    def end(self, name: str, members: Sequence[Member]) -> bool:
        self.stopped = bool(self.progress.end(name, members))
        return self.stopped

    def close(self) -> None:
        """The work is done; ``finish`` is that of a single run."""
        self.progress.finish()
