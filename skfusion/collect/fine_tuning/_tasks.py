"""One fine-tune a task (Ilharco et al., 2023; Rame et al., 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect.fine_tuning._init import start_and_split
from skfusion.nets import Run


@dataclass(eq=False, repr=False)
class Tasks(Collector):
    """Train one member a task, or a domain, each on the rows of its task, all from one start.

    All members have the outputs of all classes. Networks whose heads have different shapes or names are merged by
    :func:`skfusion.merge.merge_shared`, which leaves each its own head.

    Parameters
    ----------
    by : callable, int or str
        What tells the task of a row: ``by(X, y)`` returns one label a row, shape (n_samples,), where y are class codes
        (positions in the sorted classes) or values. A number is a column of X, which stays a feature. A string is an
        input of a dict; where it is a label only, ``forward`` takes and ignores it.
    init : int, State, Member, fitted net or FrozenEstimator, optional
        The common start, as in :class:`FineTunes`.

    Notes
    -----
    Costs one training a task, of as many epochs as the net has, and one more where the start is trained. A member
    is named after its task, which also stands in ``meta["task"]``. Mergers that ask for data, such as
    :class:`~skfusion.merge.Fisher`, :class:`~skfusion.merge.RegMean` and :class:`~skfusion.merge.AdaMerging`, are
    given the rows of each member's own task.

    References
    ----------
    Ilharco et al., "Editing models with task arithmetic", ICLR 2023, arXiv:2212.04089. Rame et al., "Model
    ratatouille: recycling diverse models for out-of-distribution generalization", ICML 2023, arXiv:2212.10445.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Tasks
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> side = Tasks(lambda X, y: np.where(X[:, 0] < 0, "left", "right"), init=2)
    >>> pool = side.collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> {member.name: len(member.rows) for member in pool}
    {'task-left': 16, 'task-right': 16}
    """

    by: Callable[[Any, np.ndarray], Any] | int | str
    init: Any = None
    has_common_start = True

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return a run for each task; see :meth:`Collector.runs`."""
        labels = labels_of(self.by, rows)
        tasks = np.unique(labels)
        if len(tasks) == 1:
            codes = ", in which classes are the numbers 0, 1, …" if rows.task == "classification" else ""
            raise ValueError(
                f"by gives all {len(rows)} rows one task, {labels.tolist()[0]!r}, so there is nothing to merge. It was "
                f"given X, and y as networks get it{codes}."
            )
        (first, *seeds) = draw_seeds(rng, 1 + len(tasks), "tasks")
        start, params = start_and_split(net, rows, self.init, first)
        return [
            Run(
                f"task-{label}",
                seed,
                np.flatnonzero(labels == label),
                meta={"task": label.item()},
                params=params,
                state=start,
            )
            for label, seed in zip(tasks, seeds, strict=True)
        ]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"by": sign_of_first, "init": 1}


def sign_of_first(X: Any, y: np.ndarray) -> np.ndarray:
    """Return whether the first number of each row is positive, for the common checks."""
    return X[:, 0] > 0


def labels_of(by: Any, rows: Rows) -> np.ndarray:
    """Return the task of each row, shape (n_samples,): numbers, booleans or strings."""
    X = rows.X
    if callable(by):
        labels = np.asarray(by(X, rows.y))
    elif isinstance(by, str) and isinstance(X, dict):
        if by not in X:
            raise ValueError(f"by={by!r} is no input of X, which has {sorted(X)}.")
        labels = np.asarray(X[by])
    elif isinstance(by, str):
        raise TypeError(
            f"by={by!r} names an input of a dict, but X is an array, or a table, whose names are not known here. Give "
            f"the number of a column, a function by(X, y), or a dict {{..., {by!r}: labels}}, each for forward to take."
        )
    elif isinstance(by, Integral) and not isinstance(X, dict) and X.ndim == 2:
        if not -X.shape[1] <= by < X.shape[1]:
            raise ValueError(f"by={by} is no column of X, which has {X.shape[1]}.")
        labels = X[:, int(by)]
    else:
        raise TypeError(
            "by must be a function of X and y, a column number of a two-dimensional X, or the name of an input in a "
            f"dict; got {by!r}."
        )
    if labels.shape != (len(rows),):
        raise ValueError(f"by must give one label a row, shape {(len(rows),)}; got shape {labels.shape}.")
    if len(absent := np.flatnonzero([is_missing(label) for label in labels])):
        raise ValueError(
            f"by gives no label (None or NaN) to {len(absent)} of {len(rows)} rows, the first of which is row "
            f'{absent[0]}. Give rows of no task a label of their own, such as "other", or leave them out.'
        )
    labels = np.array(labels.tolist()) if labels.dtype == object else labels
    return labels if labels.dtype.kind in "biufU" else labels.astype(str)


def is_missing(label: Any) -> bool:
    """Return whether a label is None, NaN, NaT or NA, which are not equal to themselves."""
    return label is None or not isinstance(same := label == label, (bool, np.bool_)) or not same
