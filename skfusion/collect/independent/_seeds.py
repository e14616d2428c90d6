"""Independent runs that differ in their seed (Lakshminarayanan et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skfusion._rows import Inputs, Task
from skfusion.collect._base import Collector, draw_seeds, prepared
from skfusion.collect._run import Progress, Run, train
from skfusion.nets import VectorizeChoice
from skfusion.pool import ModelPool


class Seeds(Collector):
    """Train members that differ in initialisation, order of the data and dropout.

    A net that is given as a module *instance* starts every member from that instance's weights, which then stand in
    the pool's ``base``; a net given as a module class draws new ones for each.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train. More give a better ensemble at a proportional cost.
    stack : {"auto", True, False}, default="auto"
        Train members together, as one network with a member axis: the same members, many times sooner where networks
        are small. True also where it is not sooner; False one after another.
    max_bytes : int, optional
        Memory for members that are trained together, which are split where they need more; half of the free memory
        when omitted.

    Notes
    -----
    Costs ``n_members`` trainings.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", NeurIPS 2017, arXiv:1612.01474.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Seeds
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Seeds(2)(mlp_regressor(max_epochs=2), x, x**2, np.random.RandomState(0))
    >>> pool.names
    ['seed-0', 'seed-1']
    """

    def __init__(self, n_members: int = 5, stack: VectorizeChoice = "auto", max_bytes: int | None = None):
        self.n_members = n_members
        self.stack = stack
        self.max_bytes = max_bytes

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
        """Train the members; see :meth:`Collector.__call__`."""
        seeds = draw_seeds(rng, self.n_members, "n_members")
        net, rows, task = prepared(net, X, y, sample_weight, task, groups)
        runs = [Run(f"seed-{i}", seed) for i, seed in enumerate(seeds)]
        return train(net, rows, task, runs, n_jobs, progress, self.stack, self.max_bytes)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4}
        yield {"n_members": 3, "stack": False}
