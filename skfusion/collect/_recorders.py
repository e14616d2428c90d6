"""What is kept of a run while it trains."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skfusion import nets
from skfusion.nets import DivergedError
from skfusion.pool import Member

if TYPE_CHECKING:
    from skfusion.collect._run import Run

EpochHook = Callable[[int, Any], bool | None]
Result = tuple[list[Member], DivergedError | None]


class Keeper:
    """Keeps states of a run while it trains, and makes members of them."""

    def __init__(self, run: Run, hook: EpochHook | None):
        self.run, self.hook = run, hook
        self.kept: list[Member] = []
        self.done: list[Member] = []
        self.average = None if run.average is None else run.average()
        self.stopped = False  # by who asked for the run

    def __call__(self, epoch: int, net: Any) -> bool:
        if epoch in self.run.keep:
            meta = {**self.run.meta, "epoch": epoch}
            self.kept.append(Member(f"{self.run.name}-epoch-{epoch}", nets.state_of(net), meta=meta))
        self.stopped = bool(self.hook is not None and self.hook(epoch, net))
        return self.stopped

    @property
    def members(self) -> list[Member]:
        """The members of the run so far."""
        return self.done or [m.replace(meta={**self._meta, **m.meta}) for m in self.kept]

    @property
    def _meta(self) -> dict[str, Any]:
        return {**self.run.meta, "seed": self.run.seed} | ({} if self.run.net is None else {"own_net": True})

    def result(self, fitted: Any) -> Result:
        """Return the members of the run, or why there are none."""
        if isinstance(fitted, DivergedError):
            return [], DivergedError(f"Member {self.run.name!r} diverged: {fitted}", fitted.epoch)
        history = nets.history_of(fitted)
        if not self.stopped:
            _warn_of_missing(self.run, self.kept)
        last = Member(self.run.name, nets.state_of(fitted), meta={"epoch": len(history)})
        kept = self.kept or [last if self.average is None else self.average.member(last)]
        self.done = [m.replace(meta={**self._meta, **m.meta, "history": history[: m.meta["epoch"]]}) for m in kept]
        return self.done, None


def once(hook: EpochHook) -> EpochHook:
    """Return a hook that is told of each epoch once: a run that leaves a stack is trained again from its start."""
    answers: dict[int, bool] = {}

    def told(epoch: int, net: Any) -> bool:
        if epoch not in answers:
            answers[epoch] = bool(hook(epoch, net))
        return answers[epoch]

    return told


def _warn_of_missing(run: Run, kept: Sequence[Member]) -> None:
    """Warn where a run has ended before the last state that was to be kept."""
    n = len(kept)
    if n == len(run.keep):
        return
    rest = f"there are {n} members" if n > 1 else "there is 1 member" if n else "its last state is the only member"
    warnings.warn(
        f"The run {run.name!r} ended before the state of epoch {run.keep[n]} could be kept, and {len(run.keep)} states "
        f"were to be kept, the last one after epoch {run.keep[-1]}: {rest}. Take the callback that ends the training, "
        "such as EarlyStopping, from the net, or let it wait longer.",
        stacklevel=3,
    )
