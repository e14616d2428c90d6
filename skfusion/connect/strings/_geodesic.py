"""Geodesics in the space of predictions (Tan et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor

from skfusion._batches import size_of
from skfusion._random import seed_scope
from skfusion.connect._base import Connector, Path, check_ends, combined
from skfusion.connect._chain import Chain
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._together import Together
from skfusion.connect._train import record, trained_names, untrained_names
from skfusion.connect.strings._predictions import Outputs, of_links
from skfusion.objective import Likelihood, Objective, evaluating
from skfusion.repair import Recalibrate, batch_norms
from skfusion.state import State, weighted_sum


@dataclass(eq=False, repr=False)
class GeodesicPath(Path):
    """A chain between two networks, and how far the predictions of neighbours are apart.

    Parameters
    ----------
    controls : sequence of State
        The networks at the ends, and the pivots between them.
    basis : PathBasis
        What gives the coefficients.
    history : sequence of float, optional
        Mean energy of the batches of each epoch.
    own_ends : bool, default=True
        Whether the ends are networks as their own training left them.
    divergences : sequence of float
        The mean Jensen-Shannon divergence of each two neighbours, in nats.
    line_energy : float
        The energy of the straight line with as many pivots.
    """

    _: KW_ONLY
    divergences: Sequence[float] = ()
    line_energy: float = math.nan

    def __post_init__(self) -> None:
        super().__post_init__()
        self.divergences = tuple(self.divergences)

    @property
    def energy(self) -> float:
        """The sum of the divergences, at most ``line_energy``."""
        return float(np.sum(self.divergences))

    @property
    def fisher_rao_length(self) -> float:
        """The length in the space of predictions, the square root of 8 times the sum of those of the divergences."""
        return float(np.sqrt(8 * np.maximum(self.divergences, 0)).sum())


@dataclass(eq=False, repr=False)
class Geodesic(Connector, Chain):
    r"""Join two networks by a chain on which predictions change as little as can be from each pivot to the next.

    With the predictions :math:`p_i` of the pivots on rows that need no labels, the energy

    .. math:: E = \sum_i \mathrm{JSD}(p_i \,\|\, p_{i+1})

    of Jensen-Shannon divergences is least on a shortest line in the space of predictions, at equally spaced pivots: a
    geodesic of the Fisher-Rao metric, whose length is :math:`\sum_i \sqrt{8\, \mathrm{JSD}(p_i \,\|\, p_{i+1})}`.

    Parameters
    ----------
    n_bends : int, default=23
        Pivots between the ends, which start equally spaced on the straight line. More are nearer to a smooth line.
    n_epochs : int, default=20
        Epochs of training. More lower the energy.
    lr : float, default=0.1
        Learning rate of SGD.
    momentum : float, default=0.0
        Momentum of SGD.
    random_state : int, default=0
        Seed of the order of the rows.

    Notes
    -----
    The path is a :class:`~skfusion.connect.GeodesicPath`, which has the divergences, the energy, and the Fisher-Rao
    length; its ``length()`` is the Euclidean one. The energy is measured after each epoch, on the rows that statistics
    are estimated on, and the pivots with the lowest one are returned: it is never above that of the straight line. That
    the loss between the networks falls with it is not promised.

    Classes and labels are compared by the Jensen-Shannon divergence; of values that are predicted, it is an eighth of
    the squared difference, and steps do not depend on their units. A step costs a pass and its gradient for each pivot.
    Dropout is off; BatchNorm uses the statistics of the batch in training, and is recalibrated where the energy is
    measured. Align the networks first.

    The defaults are those of the authors' code, for ResNets in batches of 256. Its pivots start at i / (N + 1) of the
    line, so that the last link is longer; here they start equally spaced.

    References
    ----------
    Tan et al., "Geodesic mode connectivity", ICLR 2023 (tiny papers), arXiv:2308.12666.

    Examples
    --------
    >>> from skfusion.connect import Geodesic
    >>> Geodesic().weights(0.25, 3).tolist()
    [0.5, 0.5, 0.0]
    """

    n_bends: int = 23
    n_epochs: int = 20
    lr: float = 0.1
    momentum: float = 0.0
    random_state: int = 0
    _test_sets = ({"n_bends": 5, "lr": 1.0}, {"n_bends": 3, "n_epochs": 10, "momentum": 0.9})

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_bends", "n_epochs")
        check_steps(self)

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> GeodesicPath:
        """Return the chain of the lowest energy; see :meth:`Connector.__call__`."""
        check_ends(self, states)
        self.check()
        if objective is None or objective.likelihood is None:
            raise ValueError(
                f"{type(self).__name__} compares predictions: give it an objective that says how outputs are read, by "
                "a likelihood. It needs no labels."
            )
        if not trained_names(states, states, [], objective.module):
            return GeodesicPath(states, self, divergences=[0.0], line_energy=0.0)
        run = _Run(self, states, objective)
        with seed_scope(int(self.random_state), run.rows.device):
            line = run.divergences()
            lowest, controls = line, run.controls
            for _ in range(self.n_epochs):
                run.epoch()
                now = run.divergences()
                if now.sum() < lowest.sum():
                    lowest, controls = now, run.controls
        return GeodesicPath(controls, self, run.history, divergences=lowest.tolist(), line_energy=float(line.sum()))


class _Run:
    """A training of the pivots of a chain, epoch by epoch."""

    def __init__(self, settings: Geodesic, ends: Sequence[State], objective: Objective):
        self.settings, self.ends, self.objective = settings, list(ends), objective
        shares = np.linspace(0, 1, settings.n_bends + 2).tolist()
        line = [combined(ends, [1 - s, s]) for s in shares]
        names = trained_names(ends, ends, [], objective.module)
        like = weighted_sum(ends, [0.5, 0.5])
        self.together = Together(names, like, objective)
        self.rows = self.together.rows(line)  # shape: (n_pivots, n_numbers)
        self.history: list[float] = []
        self._rest, self._outputs = line, Outputs(self.together, like, objective)
        followed = untrained_names(names, ends, objective.module)
        self._others = {name: torch.stack([state[name] for state in line]) for name in followed}
        self._speed = torch.zeros_like(self.rows[1:-1])
        assert objective.likelihood is not None
        self._likelihood: Likelihood = objective.likelihood
        self._unit = self._scale()

    def _scale(self) -> float:
        """Return the unit of the energy: the variance of values that are predicted."""
        if self._likelihood.kind != "gaussian":
            return 1.0
        with torch.no_grad(), evaluating(self.objective.module):
            x = next(iter(self.objective.batches())).x
            values = torch.cat([self._likelihood.logits(self.objective.forward(end, x)) for end in self.ends])
        return float(values.var()) or 1.0

    @property
    def controls(self) -> list[State]:
        """The pivots as states; the ends are the very states that were given."""
        inner = zip(self.rows[1:-1], self._rest[1:-1], strict=True)
        return [self.ends[0], *(self.together.state(row.clone(), rest) for row, rest in inner), self.ends[1]]

    def epoch(self) -> None:
        """Go through the rows once."""
        total, n = 0.0, 0
        with _normalising(self.objective):
            for batch in self.objective.training():
                with torch.enable_grad():
                    rows = self.rows.requires_grad_()
                    energy = of_links(self._outputs(rows, batch, self._others), batch, self._likelihood).sum()
                if energy.requires_grad:  # else no output depends on what differs
                    self._step(torch.autograd.grad(energy, rows)[0][1:-1])
                total, n = total + float(energy.detach()), n + 1
        record(self.history, self.settings, total, n)

    def _step(self, gradient: Tensor) -> None:
        with torch.no_grad():
            self._speed.mul_(self.settings.momentum).add_(gradient)
            rows = self.rows.detach()
            rows[1:-1] -= self.settings.lr * self._speed / self._unit
        self.rows = rows

    def divergences(self) -> np.ndarray:
        """Return the mean divergence of each two neighbours on all rows, shape (n_pivots - 1,)."""
        objective, repair = self.objective, Recalibrate(n_passes=1)
        states = [repair(state, self.ends, objective) for state in self.controls]
        total, weight = np.zeros(len(states) - 1), 0.0
        with torch.no_grad(), evaluating(objective.module):
            for batch in objective.batches():
                outputs = torch.stack([objective.forward(state, batch.x).double() for state in states])
                n = size_of(batch)
                total += n * of_links(outputs, batch, self._likelihood).double().cpu().numpy()
                weight += n
        if not weight:
            raise ValueError(f"{type(self.settings).__name__} compares predictions, and the objective has no rows.")
        return total / weight


@contextmanager
def _normalising(objective: Objective) -> Iterator[None]:
    """Let BatchNorm use the statistics of the batch, with all else as in prediction."""
    norms = batch_norms(objective.module).values()
    with evaluating(objective.module):
        for norm in norms:
            norm.train()
        yield
