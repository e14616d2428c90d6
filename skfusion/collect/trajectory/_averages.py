"""Ensembles of averages: independent runs, each of which is averaged over its steps (Arpit et al., 2022)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np

from skfusion import nets
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect._recorders import Averaged, RunningMean
from skfusion.nets import Run
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate, batch_norms
from skfusion.state import State


class Averages(Collector):
    r"""Train members from different seeds, and keep of each the mean of its states after all late steps.

    Of a run of T optimiser steps, after i of which the state is :math:`\theta_i`, the member is

    .. math:: \bar\theta = \frac{1}{T - t_0 + 2} \sum_{i = t_0 - 1}^{T} \theta_i

    for parameters and floating-point buffers. Integer buffers, such as BatchNorm's counter, are the last ones, and
    BatchNorm's statistics are estimated anew for the mean, on the training rows.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train.
    burn_in : float or int, default=0.5
        Where the mean begins. A float is a share of the run's steps, between 0 and 1. An int is the step :math:`t_0`,
        counted from 1; the paper takes 100, from pretrained networks. A later one leaves early, worse
        states out, and averages fewer. Beyond the last step, as with 1.0, members are those of :class:`Seeds`.

    Notes
    -----
    Costs ``n_members`` trainings, and for each a copy of the state in float64, to which every step adds. Members are
    trained one after another, or in processes, and not vectorized. How many states a member is the mean of stands
    in its ``meta["n_averaged"]``; its ``meta["history"]`` is that of the run. The paper sums the members' logits, as
    :class:`~skfusion.EnsembleOfAveragesClassifier` does, and takes of each run the mean that is best on held-out rows,
    which is not done here.

    The paper averages BatchNorm's statistics with the rest. But the mean of what a layer saw under many states is not
    what it sees under their mean, and the difference can spoil predictions. So here
    :class:`~skfusion.repair.Recalibrate` estimates them on the rows that the run was given, in about L / 2 forward
    passes for L layers. Nets without BatchNorm are spared these.

    What callbacks put into the net when training ends does not last where states are averaged: the best state, which
    skorch's ``EarlyStopping(load_best=True)`` or ``Checkpoint(load_best=True)`` loads, gives way to the mean.
    Leave ``load_best`` out; that the run ends early is honoured.

    References
    ----------
    Arpit, Wang, Zhou and Xiong, "Ensemble of averages: improving model selection and boosting performance in domain
    generalization", NeurIPS 2022, arXiv:2110.10832.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Averages
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Averages(2).collect(mlp_regressor(max_epochs=8, batch_size=16), x, x**2)
    >>> [(member.name, member.meta["n_averaged"]) for member in pool]
    [('average-0', 9), ('average-1', 9)]
    """

    def __init__(self, n_members: int = 5, burn_in: float = 0.5):
        self.n_members = n_members
        self.burn_in = burn_in

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs each of which leaves a mean; see :meth:`Collector.runs`."""
        burn_in, counted = self.burn_in, isinstance(self.burn_in, Integral)
        if isinstance(burn_in, (bool, np.bool_)) or not (
            burn_in >= 1 if counted else isinstance(burn_in, Real) and 0 <= burn_in <= 1
        ):
            raise ValueError(
                "burn_in is a share of the steps, a float between 0 and 1, or a step, an int of at least 1; got "
                f"{burn_in!r}."
            )
        seeds = draw_seeds(rng, self.n_members, "n_members")
        mean = partial(Averaged, RunningMean, burn_in, repair=partial(recalibrated, net, rows))
        return [Run(f"average-{i}", seed, recorder=mean) for i, seed in enumerate(seeds)]

    def __call__(self, net: Any, rows: Rows, rng: np.random.RandomState, **options: Any) -> ModelPool:
        """Train the members, and warn where nothing was averaged; see :meth:`Collector.__call__`."""
        pool = super().__call__(net, rows, rng, **options)
        last = [m.name for m in pool if m.meta["n_averaged"] == 1]
        if last and (isinstance(self.burn_in, Integral) or self.burn_in < 1):
            warnings.warn(
                f"Nothing was averaged in {len(last)} of {len(pool)} runs, of which {last[0]!r} is the first: they "
                f"ended before the mean begins, with burn_in={self.burn_in}, and their members are their last states. "
                "Train longer, take a smaller burn_in, or give it as a share of the steps, such as 0.5.",
                stacklevel=2,
            )
        return pool

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 3}
        yield {"n_members": 2, "burn_in": 3}


def recalibrated(net: Any, rows: Rows, module: Any, state: State, last: State) -> State:
    """Return the mean of a run's states with BatchNorm statistics of its own, where the module has some.

    ``last`` is the last state of the run, to which the training gave its statistics.
    """
    if not batch_norms(module):
        return state
    runner = nets.Runner(net, nets.task_of(net, rows), rows)
    data = nets.Judge(runner, rows, rows)
    repaired = Recalibrate()(runner.place(state), [runner.place(last)], data)
    return {k: v.cpu() for k, v in repaired.items()}
