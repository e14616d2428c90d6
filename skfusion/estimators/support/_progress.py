"""Report the members and epochs of a fit to scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.callback import ProgressBar

from skfusion import nets
from skfusion._progress import Bar
from skfusion.pool import Member


class CallbackProgress:
    """Map runs and epochs to the task tree of ``sklearn.callback``: fit > collect > member > epoch.

    Runs in other processes show when they end. ``as_fitted(state, net)`` makes a copy of the estimator predict with it.
    """

    def __init__(self, context: Any, estimator: Any, as_fitted: Callable[[Any, Any], dict[str, Any]], X: Any, y: Any):
        self.context, self.estimator, self.as_fitted = context, estimator, as_fitted
        self.data = {"X": X, "y": y}
        self.open: dict[str, Any] = {}

    def start(self, n_runs: int) -> None:
        """Open the task of collecting ``n_runs`` runs."""
        self.collecting = self.context.subcontext(task_name="collect", max_subtasks=n_runs)
        self.collecting.call_on_fit_task_begin(estimator=self.estimator)

    def begin(self, name: str, n_epochs: int) -> Callable[[int, Any], bool]:
        """Open the task of a run; the result is called after each epoch."""
        task = self.collecting.subcontext(task_name=name, max_subtasks=n_epochs)
        self.open[name] = task.call_on_fit_task_begin(estimator=self.estimator)

        def on_epoch(epoch: int, net: Any) -> bool:
            leaf = task.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self.estimator)
            return leaf.call_on_fit_task_end(
                estimator=self.estimator,
                **self.data,
                reconstruction_attributes=lambda: self.as_fitted(nets.state_of(net), net),
            )

        return on_epoch

    def end(self, name: str, members: Sequence[Member]) -> bool:
        """Close the task of a run."""
        task = self.open.pop(name, None)
        if task is None:
            task = self.collecting.subcontext(task_name=name).call_on_fit_task_begin(estimator=self.estimator)
        last = members[-1] if members else None
        return task.call_on_fit_task_end(
            estimator=self.estimator,
            **self.data,
            reconstruction_attributes=None if last is None else lambda: self.as_fitted(last.state, last.net),
        )

    def finish(self) -> None:
        """Close the task of collecting."""
        self.collecting.call_on_fit_task_end(estimator=self.estimator)


class FitBar:
    """Show the tasks of a fit as one bar of its members; a callback of scikit-learn."""

    def __init__(self) -> None:
        self.n_runs, self.n_ended = 0, 0
        self.epochs: dict[str, tuple[int, int]] = {}  # of each run that is open, how many are done, and of how many
        self.is_done = False

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin to show the bar."""
        self.bar = Bar(type(estimator).__name__, unit="members")
        self.bar.start()

    def teardown(self, estimator: Any, context: Any) -> None:
        """Take the bar away."""
        self.bar.stop(self.is_done)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Show a task that begins."""
        if context.task_name == "fuse":
            self.bar.update("fusing", self.n_runs, self.n_runs, phase="fuse")
        elif context.task_name == "collect":
            self.n_runs, self.n_ended = context.max_subtasks or 0, 0
            self.show("collecting")
        elif _is_run(context):
            self.epochs[context.task_name] = 0, context.max_subtasks or 0
            self.show()

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Show how far it is where a task has ended."""
        if context.parent is None:
            self.is_done = True
        elif _is_run(context):
            self.epochs.pop(context.task_name, None)
            self.n_ended += 1
            self.show(context.task_name)
        elif _is_run(context.parent) and context.parent.task_name in self.epochs:
            done, n_epochs = self.epochs[context.parent.task_name]
            self.epochs[context.parent.task_name] = min(done + 1, n_epochs), n_epochs
            self.show()

    def show(self, what: str = "") -> None:
        """Show how far it is, and which members are trained."""
        if self.epochs:
            done, n_epochs = next(reversed(self.epochs.values()))
            name = next(iter(self.epochs)) if len(self.epochs) == 1 else f"{len(self.epochs)} members at once"
            what = f"{name}, epoch {min(done + 1, n_epochs)} of {n_epochs}"
        share = sum(done / n_epochs for done, n_epochs in self.epochs.values() if n_epochs)
        self.bar.update(what, self.n_ended + share, self.n_runs, phase="collect")


def _is_run(context: Any) -> bool:
    return context.parent is not None and context.parent.task_name == "collect"


def asks_for_bar(estimator: Any) -> bool:
    """Return whether ``verbose`` asks for a bar that nobody else shows: no outer fit, and no callback."""
    watched = getattr(estimator, "_skl_callbacks", [])
    nested = hasattr(estimator, "_parent_callback_ctx") or any(isinstance(c, ProgressBar) for c in watched)
    return bool(estimator.verbose) and not nested


def begin_fit(estimator: Any, X: Any, y: Any, n_tasks: int, show: bool = True) -> tuple[Any, bool]:
    """Return the task of a fit, with a bar where ``verbose`` asks for one, and whether a callback watches."""
    callbacks = getattr(estimator, "_skl_callbacks", [])
    if show and asks_for_bar(estimator):
        estimator.set_callbacks(*callbacks, FitBar())
    watched = hasattr(estimator, "_parent_callback_ctx") or bool(getattr(estimator, "_skl_callbacks", []))
    try:
        context = estimator._init_callback_context(max_subtasks=n_tasks)
        return context.call_on_fit_task_begin(estimator=estimator, X=X, y=y), watched
    finally:
        estimator.set_callbacks(*callbacks)
