"""The collector family: what a collector is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state
from torch import nn

from skfusion import nets
from skfusion._component import Component
from skfusion._rows import Inputs, Rows, Task
from skfusion.collect._given_rows import n_outputs_of, rows_for
from skfusion.collect._run_folder import RunFolder
from skfusion.collect._train_runs import Progress, train
from skfusion.nets import Run
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
    run_folder: RunFolder | None = None
    """Where members of runs are kept, and read from if they are there; :class:`Kept` gives it to a copy."""
    uses_run_folder: ClassVar[bool] = True
    """Whether ``__call__`` trains by ``run_folder``; to be said anew by a class that has another ``__call__``."""

    @abstractmethod
    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
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
        options = {"vectorize": self.vectorize, "max_bytes": self.max_bytes, "folder": self.run_folder}
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
        return nets.sized(net, rows, n_outputs_of(net, rows))

    def default_net(self, task: Task) -> Any:
        """Return the net of an estimator that is given none.

        Parameters
        ----------
        task : {"classification", "multilabel", "regression"}
            What the outputs are.

        Returns
        -------
        skorch net
            Unfitted, not sized yet.
        """
        return nets.default_net(task)

    def has_base(self, net: Any) -> bool:
        """Return whether all members start from one state, such as that of a module instance; see :meth:`runs`."""
        return self.has_common_start or isinstance(net.module, nn.Module)
