"""Fine-tunes in the tangent space of their start (Ortiz-Jimenez et al., 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from skfusion import nets
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect.fine_tuning._fine_tunes import FineTunes, Proposals
from skfusion.collect.fine_tuning._init import start_and_split
from skfusion.nets import Run
from skfusion.pool import ModelPool
from skfusion.tangent import Linearised


@dataclass(eq=False, repr=False)
class TangentFineTunes(Collector):
    r"""Train members that are linear in their weights, from one start.

    What is trained is the network's expansion at the start :math:`\theta_0`,

    .. math:: f_\mathrm{lin}(x; \theta) = f(x; \theta_0) + J_\theta f(x; \theta_0)\,(\theta - \theta_0),

    so that outputs add up as task vectors do. Merge them with :class:`~skfusion.merge.TaskArithmetic` for task
    arithmetic in the tangent space, or with any other merger.

    Parameters
    ----------
    distributions : dict or Proposals, optional
        What the net's parameters are drawn from, as in :class:`FineTunes`; those of the module are fixed.
    n_members : int, default=8
        Networks to train.
    init : int, State, Member, fitted net or FrozenEstimator, optional
        The common start, as in :class:`FineTunes`.

    Notes
    -----
    Costs twice the time of :class:`FineTunes`. Members carry a net of their own, whose module is
    :class:`skfusion.tangent.Linearised`; a fused network is one, too, and costs two forward passes. Dropout and
    BatchNorm are in evaluation mode. In a file members have no net: a pool from a directory is fused with
    ``skfusion.nets.with_module(net, Linearised(module))`` as the estimator, where ``module`` is of the architecture of
    the start.

    References
    ----------
    Ortiz-Jimenez, Favero and Frossard, "Task arithmetic in the tangent space: improved editing of pre-trained
    models", NeurIPS 2023, arXiv:2305.12827.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import TangentFineTunes
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> tunes = TangentFineTunes({"lr": [0.01, 0.003]}, n_members=2, init=2)
    >>> pool = tunes.collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> type(pool[0].net.module).__name__
    'Linearised'
    """

    distributions: Mapping[str, Any] | Proposals | None = None
    n_members: int = 8
    init: Any = None
    has_common_start = True
    uses_run_folder = True

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs of the expansion at the start; see :meth:`Collector.runs`."""
        tangent, params, tunes = self._tangent(net, rows, rng)
        runs = tunes.runs(tangent, rows, rng)
        return [replace(run, net=tangent, params={**params, **run.params}) for run in runs]

    def __call__(self, net: Any, rows: Rows, rng: np.random.RandomState, **options: Any) -> ModelPool:
        """Train the members; see :meth:`Collector.__call__`."""
        tangent, params, tunes = self._tangent(net, rows, rng)
        tunes.run_folder = self.run_folder
        pool = tunes(clone(tangent).set_params(**params) if params else tangent, rows, rng, **options)
        return pool.replace([m.replace(net=tangent) for m in pool]) if params else pool

    def _tangent(self, net: Any, rows: Rows, rng: np.random.RandomState) -> tuple[Any, dict[str, Any], FineTunes]:
        """Return the net that is linear in its weights, parameters for its training, and what fine-tunes it."""
        given = self.distributions
        if isinstance(given, Mapping) and (fixed := [name for name in given if name.startswith("module")]):
            raise ValueError(f"The tangent space is that of one network: {fixed[0]!r} cannot be drawn for each member.")
        (first,) = draw_seeds(rng, 1, "seeds")
        runner = nets.Runner(net, nets.task_of(net, rows), rows)
        start, params = start_and_split(net, rows, self.init, first)
        runner.module.load_state_dict(start)
        tangent = nets.with_module(net, Linearised(runner.module.cpu()))
        return tangent, params, FineTunes(given, self.n_members, vectorize=False)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 2, "init": 1}
