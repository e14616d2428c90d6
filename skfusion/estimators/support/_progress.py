"""Report the members and epochs of a fit to scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.callback import ProgressBar

from skfusion import nets
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


def begin_fit(estimator: Any, X: Any, y: Any, n_tasks: int) -> tuple[Any, bool]:
    """Return the task of a fit, with a progress bar where ``verbose`` asks for one, and whether a callback watches."""
    callbacks = getattr(estimator, "_skl_callbacks", [])
    nested = hasattr(estimator, "_parent_callback_ctx")
    if estimator.verbose and not nested and not any(isinstance(c, ProgressBar) for c in callbacks):
        estimator.set_callbacks(*callbacks, ProgressBar())
    watched = nested or bool(getattr(estimator, "_skl_callbacks", []))
    try:
        context = estimator._init_callback_context(max_subtasks=n_tasks)
        return context.call_on_fit_task_begin(estimator=estimator, X=X, y=y), watched
    finally:
        estimator.set_callbacks(*callbacks)
