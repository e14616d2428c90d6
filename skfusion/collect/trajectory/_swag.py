"""SWAG and MultiSWAG: networks drawn from a Gaussian along the tail of a run (Maddox et al., 2019)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect.trajectory._averages import recalibrated
from skfusion.collect.trajectory._gaussian import Gaussian
from skfusion.collect.trajectory._tail import TailRate, epochs_of_burn_in, rate_of
from skfusion.nets import LastState, Recorder, Run, VectorizeChoice
from skfusion.pool import Member
from skfusion.state import State


@dataclass(eq=False, repr=False)
class SWAG(Collector):
    r"""Draw networks from a Gaussian that is fitted to the states of one run after a burn-in.

    The states :math:`\theta_1, ..., \theta_n` after the burn-in have the mean :math:`\bar\theta`, which is that of
    stochastic weight averaging (SWA), and the variances :math:`v`, number by number. The last K deviations
    :math:`\theta_i - \bar\theta_i`, each from the mean until then, are the columns of D. A member is a draw of

    .. math:: \mathcal{N}\Bigl(\bar\theta,\ s \bigl(\operatorname{diag}(v) + \tfrac{1}{K - 1} D D^\top\bigr)\Bigr)

    whose BatchNorm statistics are estimated anew on the training rows. ``EnsembleClassifier(net, collect=SWAG())``
    averages the members' predictions, an approximate Bayesian model average.

    The learning rate after the burn-in is constant, as the Gaussian is that of the states about which a constant rate
    moves. Before, it is the net's own for the first half of the burn-in and goes linearly to ``lr`` until 90 % of it.

    Parameters
    ----------
    n_samples : int, default=30
        Networks to draw. More approximate the average better, and each costs as much at prediction as any network.
    rank : int, default=20
        Largest number K of deviations; all are kept where there are fewer states. 0 is the diagonal alone (SWAG-diag).
    burn_in : float, default=0.5
        Epochs before the first state, as a share of the net's ``max_epochs``, below 1.
    every : int, default=1
        Epochs or steps between two states.
    unit : {"epoch", "step"}, default="epoch"
        What ``every`` counts.
    lr : float, optional
        Learning rate after the burn-in; the net's own when omitted. A larger one gives a wider Gaussian.
    scale : float, optional
        The factor s on the covariance; 0.5 when omitted, and 1 for the diagonal alone. 0 gives the mean.

    Notes
    -----
    Costs one training, (K + 2) d numbers in double precision in main memory while it goes, for d parameters, and a copy
    of the state for each draw. BatchNorm of L layers costs about L / 2 passes over the rows for each draw.

    Parameters are drawn. Buffers are averaged, and those of integers are the last ones, so that a draw has neither a
    negative variance nor a fraction of a count. Parameters that are not trained do not vary, and tied ones stay tied.
    The best state that a callback such as ``EarlyStopping(load_best=True)`` loads at the end gives way to the draws.
    The number of states stands in ``meta["n_states"]``, the numbers of the run and of the draw in ``meta["run"]`` and
    ``meta["draw"]``. The first draws are the same for any ``n_samples``.

    References
    ----------
    Maddox, Garipov, Izmailov, Vetrov and Wilson, "A simple baseline for Bayesian uncertainty in deep learning", NeurIPS
    2019, arXiv:1902.02476.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import SWAG
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = SWAG(n_samples=3).collect(mlp_regressor(max_epochs=8), x, x**2)
    >>> [(member.name, member.meta["n_states"]) for member in pool]
    [('swag-draw-0', 4), ('swag-draw-1', 4), ('swag-draw-2', 4)]
    """

    n_samples: int = 30
    rank: int = 20
    burn_in: float = 0.5
    every: int = 1
    unit: str = "epoch"
    lr: float | None = None
    scale: float | None = None

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the one run; see :meth:`Collector.runs`."""
        return _runs(self, ["swag"], net, rows, rng)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_samples": 3}
        yield {"n_samples": 2, "rank": 0, "every": 2, "unit": "step", "lr": 0.05}


@dataclass(eq=False, repr=False)
class MultiSWAG(Collector):
    r"""Draw networks from a mixture of Gaussians, each of which is fitted to a run of its own.

    Each run starts from a seed of its own and has the Gaussian of :class:`SWAG`. All count alike: what is predicted is
    the mean over the runs, as in a deep ensemble, and over the draws of each.

    Parameters
    ----------
    n_runs : int, default=5
        Networks to train. More give a better average at a proportional cost.
    n_samples : int, default=6
        Networks to draw of each run; together they are as many as those of :class:`SWAG`.
    rank : int, default=20
        Largest number of deviations of a run; 0 is the diagonal alone.
    burn_in : float, default=0.5
        Epochs before the first state, as a share of the net's ``max_epochs``, below 1.
    every : int, default=1
        Epochs or steps between two states.
    unit : {"epoch", "step"}, default="epoch"
        What ``every`` counts.
    lr : float, optional
        Learning rate after the burn-in; the net's own when omitted.
    scale : float, optional
        The factor on the covariances; 0.5 when omitted, and 1 for the diagonals alone.
    vectorize : {"auto", True, False}, default="auto"
        Train the runs together, as one network with a member axis; see :class:`Seeds`.
    max_bytes : int, optional
        Memory for runs that are trained together; half of the free memory when omitted.

    Notes
    -----
    Costs ``n_runs`` times what :class:`SWAG` does, to which its notes apply; runs that are trained together keep their
    (K + 2) d numbers at the same time. Names of members begin with that of their run.

    References
    ----------
    Wilson and Izmailov, "Bayesian deep learning and a probabilistic perspective of generalization", NeurIPS 2020,
    arXiv:2002.08791.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import MultiSWAG
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = MultiSWAG(n_runs=2, n_samples=2).collect(mlp_regressor(max_epochs=8), x, x**2)
    >>> pool.names
    ['swag-0-draw-0', 'swag-0-draw-1', 'swag-1-draw-0', 'swag-1-draw-1']
    """

    n_runs: int = 5
    n_samples: int = 6
    rank: int = 20
    burn_in: float = 0.5
    every: int = 1
    unit: str = "epoch"
    lr: float | None = None
    scale: float | None = None
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs that differ in their seeds; see :meth:`Collector.runs`."""
        _check_whole("n_runs", self.n_runs, 1)
        return _runs(self, [f"swag-{i}" for i in range(self.n_runs)], net, rows, rng)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_runs": 2, "n_samples": 2}
        yield {"n_runs": 2, "n_samples": 2, "every": 2, "unit": "step", "vectorize": False}


def _runs(params: SWAG | MultiSWAG, names: list[str], net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
    """Return a run for each name; seeds are drawn as other collectors do, and after them those of the draws."""
    _check(params)
    burn_in = epochs_of_burn_in(params.burn_in, net.max_epochs)
    if params.unit == "epoch":
        check_states(params, burn_in, net.max_epochs)
    factor = 1.0 if params.lr is None else params.lr / rate_of(net, type(params).__name__)
    schedule = TailRate(burn_in, 1, factor, factor)
    recorder = partial(Draws, params, burn_in, net.max_epochs, partial(recalibrated, net, rows))
    seeds, of_draws = (draw_seeds(rng, len(names), "n_runs") for _ in range(2))
    return [
        Run(name, seed, schedule=schedule, recorder=partial(recorder, noise), meta={"run": i})
        for i, (name, seed, noise) in enumerate(zip(names, seeds, of_draws, strict=True))
    ]


class Draws(Recorder):
    """Leaves draws from the Gaussian of a run's states, by a seed of their own.

    A run that was ended on purpose before there were two states leaves its last state. ``burn_in`` and ``max_epochs``
    are epochs, also where states are those of steps; ``repair(module, state, last)`` returns a draw as it is to be
    used.
    """

    def __init__(
        self,
        params: SWAG | MultiSWAG,
        burn_in: int,
        max_epochs: int,
        repair: Callable[[Any, State, State], State],
        seed: int,
    ):
        self.params, self.repair, self.seed = params, repair, seed
        self.burn_in, self.max_epochs = burn_in, max_epochs
        self.by_step = params.unit == "step"
        self.gaussian = Gaussian(params.rank)
        self.planned = 0

    def after_step(self, step: int, n_steps: int, state: State) -> None:
        """Let the state after a step enter, where it is one of those after the burn-in."""
        self._see(step, self.burn_in * n_steps // self.max_epochs, n_steps, state)

    def after_epoch(self, epoch: int, net: Any) -> None:
        """Let the state after an epoch enter, where states are those of epochs."""
        if not self.by_step:
            self._see(epoch, self.burn_in, self.max_epochs, net.module_.state_dict())

    def _see(self, number: int, burn_in: int, total: int, state: State) -> None:
        if not self.planned:
            self.planned = check_states(self.params, burn_in, total)
        if number > burn_in and (number - burn_in) % self.params.every == 0:
            self.gaussian.update(state)

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the draws, of a run that has ended."""
        if net is None:
            return []
        (last,) = LastState().members(name, net)
        if self.gaussian.n < 2:
            return [last]
        parameters = {k for k, _ in net.module_.named_parameters(remove_duplicate=False)}
        generator = torch.Generator().manual_seed(self.seed)
        scale = scale_of(self.params)
        members = []
        for i in range(self.params.n_samples):
            drawn = self.gaussian.draw(last.state, scale, parameters, generator)
            state = self.repair(net.module_, drawn, last.state)
            meta = {**last.meta, "draw": i, "n_states": self.gaussian.n}
            members.append(last.replace(name=f"{name}-draw-{i}", state=state, meta=meta))
        return members

    def warn_if_incomplete(self, name: str) -> None:
        """Warn where the run has ended before its last state, and raise where it has no two."""
        n = self.gaussian.n
        if n == self.planned:
            return
        message = (
            f"The run {name!r} ended after {n} of the {self.planned} states that its Gaussian was to be fitted to"
            f"{'' if n > 1 else ', which takes at least 2'}. Take the callback that ends the training, such as "
            "EarlyStopping, from the net, or let it wait longer."
        )
        if n < 2:
            raise ValueError(message)
        warnings.warn(message, stacklevel=3)


def scale_of(params: SWAG | MultiSWAG) -> float:
    """Return the factor on the covariance: that of the paper, half for two terms and one for one, when omitted."""
    return params.scale if params.scale is not None else 0.5 if params.rank else 1.0


def check_states(params: SWAG | MultiSWAG, burn_in: int, total: int) -> int:
    """Return how many states there are in so many epochs or steps, or raise where these are fewer than two."""
    n = max(total - burn_in, 0) // params.every
    if n < 2:
        some = "1 state" if n else "none"
        raise ValueError(
            f"{type(params).__name__} fits a Gaussian to at least 2 states, and there is {some} in the {total} "
            f"{params.unit}s of the run, with a burn-in of {burn_in} and every={params.every}: train longer, or take a "
            "smaller burn_in or every."
        )
    return n


def _check(params: SWAG | MultiSWAG) -> None:
    """Raise where a parameter has no meaning, before anything is trained."""
    for name, least in (("n_samples", 1), ("every", 1), ("rank", 0)):
        _check_whole(name, getattr(params, name), least)
    if params.rank == 1:
        raise ValueError("rank must be 0, for the diagonal alone, or at least 2: one deviation has no covariance.")
    if params.unit not in ("epoch", "step"):
        raise ValueError(f"unit must be 'epoch' or 'step'; got {params.unit!r}.")
    if params.lr is not None and not (isinstance(params.lr, Real) and 0 < params.lr < math.inf):
        raise ValueError(f"lr must be a finite learning rate above 0, or None for that of the net; got {params.lr!r}.")
    if params.scale is not None and not (isinstance(params.scale, Real) and 0 <= params.scale < math.inf):
        raise ValueError(f"scale is a factor on the covariance, finite and at least 0; got {params.scale!r}.")


def _check_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")
