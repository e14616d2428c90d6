"""The collector family: where members come from."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_regressor
from torch import nn

from skfusion import nets
from skfusion._component import Component
from skfusion._rows import Inputs, Rows, Task
from skfusion.collect._run import Progress
from skfusion.pool import ModelPool


class Collector(Component, ABC):
    """Produce the members of a pool, usually by training them.

    ``draws_groups`` is true where rows are drawn for members, and whole groups where the rows have some.
    """

    draws_groups: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self,
        net: Any,
        X: Inputs,
        y: np.ndarray,
        rng: np.random.RandomState,
        *,
        sample_weight: np.ndarray | None = None,
        task: Task | None = None,
        n_jobs: int | None = None,
        progress: Progress | None = None,
        groups: np.ndarray | None = None,
    ) -> ModelPool:
        """Collect members.

        Parameters
        ----------
        net : skorch net
            Not changed and not fitted.
        X : ndarray or dict of ndarray
            Inputs; the first axis counts samples.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class codes from 0, indicators, or values (always with an axis of outputs).
        rng : numpy.random.RandomState
            Where seeds are drawn from.
        sample_weight : ndarray of shape (n_samples,), optional
            Weights of the rows.
        task : {"classification", "multilabel", "regression"}, optional
            What the targets are; told by the net when omitted.
        n_jobs : int, optional
            Runs at a time, by joblib; members do not depend on it.
        progress : Progress, optional
            Told of each run.
        groups : ndarray of shape (n_samples,), optional
            Rows of a group are on one side of the net's ``train_split``.

        Returns
        -------
        ModelPool
            At least one member, with unique names.
        """

    def has_base(self, net: Any) -> bool:
        """Return whether the members of the pool will have a common start.

        Parameters
        ----------
        net : skorch net
            What is to be trained.

        Returns
        -------
        bool
            By default, whether the net was given a module instance, from whose weights all start.
        """
        return isinstance(net.module, nn.Module)


def draw_seeds(rng: np.random.RandomState, n: int, what: str) -> list[int]:
    """Return n seeds; ``what`` names the parameter that gave n."""
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"{what} must be at least 1: a pool needs a member, and a whole number of them; got {n!r}.")
    return [int(s) for s in rng.randint(np.iinfo(np.int32).max, size=n)]


def prepared(
    net: Any,
    X: Inputs,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    task: Task | None,
    groups: np.ndarray | None = None,
) -> tuple[Any, Rows, Task]:
    """Return the net sized to the data, the data as rows, and the task."""
    y = np.asarray(y)
    if task is None:
        task = "regression" if is_regressor(net) else "multilabel" if y.ndim == 2 else "classification"
    if task == "regression" and y.ndim == 1:
        y = y[:, None]
    n_outputs = int(y.max()) + 1 if task == "classification" else y.shape[1]
    classes = getattr(net, "classes", None)
    if task == "classification" and classes is not None:
        n_outputs = max(n_outputs, len(classes))
    given = None if nets.is_net(net) is False else net.get_params(deep=False).get("module__n_out")
    if task == "classification" and given is not None:
        n_outputs = max(n_outputs, int(given))
    if task == "regression" and nets.standardising(y.astype(np.float64), sample_weight) is not None:
        warnings.warn(
            "Networks in float32 cannot tell such targets well apart, as their mean is so far from zero for their "
            "spread, or they are so large or small. Estimators such as EnsembleRegressor standardise them; a collector "
            "that is called by itself takes them as they are: give it (y - y.mean(axis=0)) / y.std(axis=0).",
            stacklevel=3,
        )
    rows = Rows(X, y, sample_weight, groups)
    return nets.sized(net, rows, task, n_outputs), rows, task
