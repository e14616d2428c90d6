"""Runs on bootstrap samples (Breiman, 1996)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from skfusion.collect._base import Collector, draw_seeds, prepared
from skfusion.collect._train import Progress, Run, train
from skfusion.nets import StackChoice
from skfusion.pool import ModelPool
from skfusion.rows import Inputs, Task


class Bootstrap(Collector):
    r"""Train each member on rows drawn with replacement.

    A row is left out of a sample of n from n rows with probability :math:`(1 - 1/n)^n \approx e^{-1}`.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train.
    max_samples : float, default=1.0
        Rows drawn for a member, as a share of all rows. Less makes members more diverse and each one worse.
    stack : {"auto", True, False}, default="auto"
        Train members together, as one network with a member axis: the same members, many times sooner where networks
        are small. True also where it is not sooner; False one after another.
    max_stack_bytes : int, optional
        Memory for members that are trained together, which are split where they need more; half of the free memory
        when omitted.

    Notes
    -----
    Costs ``n_members`` trainings. A class that a sample misses keeps its output; the member has just not learned it.
    The members that were not trained on a row predict it without bias: see :func:`skfusion.out_of_bag`.

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 24, 1996, doi:10.1007/BF00058655.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Bootstrap
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Bootstrap(2)(mlp_regressor(max_epochs=2), x, x**2, np.random.RandomState(0))
    >>> [len(member.rows) for member in pool]  # distinct rows of 32
    [23, 21]
    """

    def __init__(
        self,
        n_members: int = 5,
        max_samples: float = 1.0,
        stack: StackChoice = "auto",
        max_stack_bytes: int | None = None,
    ):
        self.n_members = n_members
        self.max_samples = max_samples
        self.stack = stack
        self.max_stack_bytes = max_stack_bytes

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
    ) -> ModelPool:
        """Train the members; see :meth:`Collector.__call__`."""
        if not 0 < self.max_samples <= 1:
            raise ValueError(f"max_samples is a share of the rows, above 0 and at most 1; got {self.max_samples}.")
        seeds = draw_seeds(rng, self.n_members, "n_members")
        net, rows, task = prepared(net, X, y, sample_weight, task)
        size = max(1, math.ceil(self.max_samples * len(rows)))
        runs = [Run(f"bag-{i}", seed, index=rng.randint(len(rows), size=size)) for i, seed in enumerate(seeds)]
        return train(net, rows, task, runs, n_jobs, progress, self.stack, self.max_stack_bytes)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4}
        yield {"n_members": 3, "stack": False}
