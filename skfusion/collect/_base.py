"""The collector family: where members come from."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state
from torch import nn

from skfusion import nets
from skfusion._component import Component
from skfusion._rows import Inputs, Rows, Task
from skfusion.collect._run import Progress, train
from skfusion.pool import ModelPool


class Collector(Component, ABC):
    """Produce the members of a pool by training them.

    A collector says which :meth:`runs` shall be trained. One whose runs depend on what came of those before them, such
    as boosting, overrides :meth:`__call__` too.
    """

    vectorize: nets.VectorizeChoice = False
    """Whether runs are trained together; a parameter of collectors whose runs can take the same steps."""
    max_bytes: int | None = None
    """Memory for runs that are trained together."""
    has_common_start: ClassVar[bool] = False
    """Whether all runs start from one state."""

    @abstractmethod
    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[nets.Run]:
        """Return the training runs that the members come from.

        Parameters
        ----------
        net : skorch net
            Sized to the data; not changed and not fitted.
        rows : Rows
            Training data, with its weights and groups.
        rng : numpy.random.RandomState
            Where seeds are drawn from.

        Returns
        -------
        list of Run
            At least one, with unique names.
        """

    def __call__(
        self,
        net: Any,
        rows: Rows,
        rng: np.random.RandomState,
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> ModelPool:
        """Collect members, within an estimator; :meth:`collect` does it outside, and has the same result.

        The first parameters are those of :meth:`runs`, where values have an axis of outputs. ``n_jobs`` is the number
        of runs at a time, by joblib, and ``progress`` is informed of each run.
        """
        runs = self.runs(net, rows, rng)
        if not runs:
            raise ValueError(f"{self!r} has no runs, and a pool needs at least one member: let runs() return some.")
        options = {"vectorize": self.vectorize, "max_bytes": self.max_bytes}
        return train(net, rows, runs, n_jobs=n_jobs, progress=progress, **options)

    def collect(
        self,
        net: Any,
        X: Inputs,
        y: np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        task: Task | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> ModelPool:
        """Collect members without an estimator.

        Parameters
        ----------
        net : skorch net
            Not changed and not fitted.
        X : ndarray or dict of ndarray
            Inputs; the first axis counts samples.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class codes from 0, indicators, or values.
        sample_weight : ndarray of shape (n_samples,), optional
            Weights of the rows.
        groups : ndarray of shape (n_samples,), optional
            Rows of a group are on one side of the net's ``train_split``, and in the same samples of rows.
        task : {"classification", "multilabel", "regression"}, optional
            What the targets are; the net says it when omitted.
        n_jobs : int, optional
            Runs at a time, by joblib; members do not depend on it.
        random_state : int or RandomState, default=0
            Where seeds are drawn from.

        Returns
        -------
        ModelPool
            At least one member, with unique names.
        """
        rows = rows_for(net, X, y, sample_weight, groups, task)
        return self(self._sized(net, rows), rows, check_random_state(random_state), n_jobs=n_jobs)

    def _sized(self, net: Any, rows: Rows) -> Any:
        """Return the net sized to rows that no estimator has prepared."""
        return nets.sized(net, rows, n_outputs_of(net, rows))

    def has_base(self, net: Any) -> bool:
        """Return whether the members of the pool will have a common start.

        Parameters
        ----------
        net : skorch net
            What is to be trained.

        Returns
        -------
        bool
            Where all runs start from one state, or the net was given a module instance, from whose weights they do.
        """
        return self.has_common_start or isinstance(net.module, nn.Module)


def draw_seeds(rng: np.random.RandomState, n: int, what: str) -> list[int]:
    """Return n seeds; ``what`` names the parameter that gave n."""
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"{what} must be at least 1: a pool needs a member, and a whole number of them; got {n!r}.")
    return [int(s) for s in rng.randint(np.iinfo(np.int32).max, size=n)]


def rows_for(
    net: Any, X: Inputs, y: Any, sample_weight: Any = None, groups: Any = None, task: Task | None = None
) -> Rows:
    """Return data that no estimator has prepared as rows, with the task that the net has."""
    rows = Rows(X, np.asarray(y), sample_weight, groups, task=task)
    task = nets.task_of(net, rows)
    y = rows.y[:, None] if task == "regression" and rows.y.ndim == 1 else rows.y
    if task == "regression" and nets.standardising(y.astype(np.float64), sample_weight) is not None:
        warnings.warn(
            "Networks in float32 cannot tell such targets well apart, as their mean is so far from zero for their "
            "spread, or they are so large or small. Estimators such as EnsembleRegressor standardise them; a collector "
            "that is called by itself takes them as they are: give it (y - y.mean(axis=0)) / y.std(axis=0).",
            stacklevel=3,
        )
    return Rows(X, y, sample_weight, groups, task=task)


def n_outputs_of(net: Any, rows: Rows) -> int:
    """Return how many outputs the rows ask for; classes may be missing in them that the net names."""
    if rows.task != "classification":
        return int(rows.y.shape[1])
    named = getattr(net, "classes", None)
    width = net.get_params(deep=False).get("module__n_out") if nets.is_net(net) else None
    return max(int(rows.y.max()) + 1, 0 if named is None else len(named), 0 if width is None else int(width))
