"""Independent runs, each of which is averaged while it goes: SWA, EMA, ensembles of averages (Arpit et al., 2022)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from skfusion import nets
from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.average import EMA, Average, Latest, Mean
from skfusion.collect._base import Collector
from skfusion.collect._recorders import Averaged
from skfusion.nets import Run
from skfusion.pool import ModelPool
from skfusion.repair import Recalibrate, batch_norms
from skfusion.state import State


class Averages(Collector):
    r"""Train members from different seeds, and keep of each an average of the states of its run.

    By default of a run of T optimiser steps, after i of which the state is :math:`\theta_i`, the member is

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
    average : Average, optional
        What is made of the states of a run, such as ``EMA(0.999)`` or ``Latest(6)`` of :mod:`skfusion.average`;
        ``Mean(burn_in)`` when omitted. With another average leave ``burn_in`` out. ``Dense()`` (SWAD) asks for a net
        that validates, by its ``train_split``.

    Notes
    -----
    Costs ``n_members`` trainings, and for each what the average keeps, such as a copy of the state in float64, to which
    every step adds. Members are trained one after another, or in processes, and not vectorized. The schedule of the
    learning rate is the net's own. How many states have entered a member stands in its ``meta["n_averaged"]``; its
    ``meta["history"]`` is that of the run. The paper sums the members' logits, as
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

    uses_run_folder = True

    def __init__(self, n_members: int = 5, burn_in: float = 0.5, average: Average | None = None):
        self.n_members = n_members
        self.burn_in = burn_in
        self.average = average

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs each of which leaves an average; see :meth:`Collector.runs`."""
        average = self._average()
        average.begin(1)  # which checks its parameters before anything is trained
        if average.needs_validation:
            nets.check_validates(net, average)
        seeds = draw_seeds(rng, self.n_members, "n_members")
        recorder = partial(Averaged, average, partial(recalibrated, net, rows))
        return [Run(f"average-{i}", seed, recorder=recorder) for i, seed in enumerate(seeds)]

    def _average(self) -> Average:
        """Return the average that is taken of each run."""
        if self.average is None:
            return Mean(self.burn_in)
        if not isinstance(self.average, Average):
            raise TypeError(
                f"average must be an average of skfusion.average, such as EMA(0.999); got {self.average!r}."
            )
        if self.burn_in != 0.5:
            raise ValueError(
                f"burn_in={self.burn_in} is that of the mean, and average={self.average!r} takes its place: give "
                "average=Mean(burn_in=...), or leave burn_in out."
            )
        return self.average

    def __call__(self, net: Any, rows: Rows, rng: np.random.RandomState, **options: Any) -> ModelPool:
        """Train the members, and warn where an average is not what was asked for; see :meth:`Collector.__call__`."""
        pool, average = super().__call__(net, rows, rng, **options), self._average()
        found = [(m.name, m.meta.get("shortfall") or average.shortfall(m.meta["n_averaged"])) for m in pool]
        short = [(name, why) for name, why in found if why is not None]
        if short:
            name, why = short[0]
            warnings.warn(
                f"{len(short)} of {len(pool)} runs were too short, of which {name!r} is the first. {why}", stacklevel=2
            )
        return pool

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 3}
        yield {"n_members": 2, "burn_in": 3}
        yield {"n_members": 2, "average": EMA(0.5)}
        yield {"n_members": 2, "average": Latest(2)}


def recalibrated(net: Any, rows: Rows, module: Any, state: State, last: State | None = None) -> State:
    """Return the mean of a run's states with BatchNorm statistics of its own, where the module has some.

    ``last`` is the last state of the run where the training has given it statistics of its own, which it keeps.
    """
    if not batch_norms(module):
        return state
    runner = nets.Runner(net, nets.task_of(net, rows), rows)
    data = nets.Judge(runner, rows, rows)
    repaired = Recalibrate()(runner.place(state), [] if last is None else [runner.place(last)], data)
    return {k: v.cpu() for k, v in repaired.items()}
