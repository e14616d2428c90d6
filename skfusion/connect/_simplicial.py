"""Simplicial complexes of low loss between networks, and simplexes grown from each (Benton et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from skfusion._docs import doc
from skfusion.connect._base import Connector, check_states
from skfusion.connect._complex import Complex, SimplicialComplex
from skfusion.connect._descent import Descent, mean_of, seeded
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._train import check_labelled
from skfusion.connect._volume import volumes_of
from skfusion.objective import Objective
from skfusion.state import State, owners

SETTINGS = """
n_samples : int, default=5
    Points a step, which are computed together where that is faster. More make its gradient less noisy at their cost.
volume : float, default=1e-4
    What the logarithm of the volume of the complex counts beside the loss, from the second connector on. More make
    simplexes larger, until their loss rises.
n_epochs : int, default=25
    Epochs of training for each connector.
lr : float, default=0.03
    Learning rate of SGD, which rises for a short time and falls along a cosine to zero, for each connector.
momentum : float, default=0.9
    Momentum of SGD.
weight_decay : float, default=5e-4
    L2 penalty on the connectors.
random_state : int, default=0
    Seed of the points and of the order of the rows."""
NOTES = """
Connectors are trained one after another, each from the mean of the corners that there are, and those before it are
frozen; networks stay as they are, bit for bit. Points are uniform in the complex: a simplex is drawn by its volume.
BatchNorm uses the statistics of the batch; recalibrate it at each point that is used, as ``SubspaceClassifier`` does.

In the authors' code the H losses are added and not averaged, the volume is squared and that of the first simplex only,
and simplexes are drawn uniformly; here it is as in the paper. Their weight of the volume is divided by the logarithm of
that of random networks; here it is the weight itself.
The defaults are for small networks: the paper trains a connector of VGG-16 for 10 epochs, or 25 between networks, with
a learning rate of 0.01, and weighs the volume by 1e-6.

References
----------
Benton et al., "Loss surface simplexes for mode connecting volumes and fast ensembling", ICML 2021, arXiv:2102.13042."""


@dataclass(eq=False, repr=False)
class _Growing(Connector):
    """What both ways of growing simplexes share: their settings."""

    n_states: ClassVar[int | None] = None

    n_connectors: int = 2
    n_samples: int = 5
    volume: float = 1e-4
    n_epochs: int = 25
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 5e-4
    random_state: int = 0
    _test_sets = ({"n_epochs": 5, "n_samples": 2, "lr": 0.05},)

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_connectors", "n_epochs")
        check_whole(self, "n_samples", least=1)
        check_steps(self, "weight_decay", "volume")

    def _grow(
        self, modes: Sequence[State], objective: Objective, rng: np.random.RandomState
    ) -> tuple[list[State], list[float]]:
        """Return the networks and the connectors of a complex in which each network has a simplex with all of these."""
        corners, history, n = list(modes), [], len(modes)
        for _ in range(self.n_connectors):
            descent = Descent([*corners, mean_of(corners)], len(corners), modes, objective)
            simplexes = [[k, *range(n, len(corners) + 1)] for k in range(n)]
            growth = Growth(simplexes, self.n_samples, self.volume if len(corners) > n else 0.0)
            history += descent.train(self, rng, growth.draw, growth.pull)
            corners = descent.controls()
        return corners, history


@doc(settings=SETTINGS, notes=NOTES)
@dataclass(eq=False, repr=False)
class Simplicial(_Growing):
    r"""Join networks by a simplicial complex of low loss (SPRO): all share the connectors that are trained.

    With the networks :math:`w_1, \dots, w_n` and the connectors :math:`\theta_1, \dots, \theta_k`, the simplexes of the
    complex :math:`K` are those of :math:`w_i, \theta_1, \dots, \theta_k`, and

    .. math:: \min_{\theta_k} \; \frac{1}{H} \sum_{h=1}^{H} L(\phi_h) - \lambda \log V(K), \qquad \phi_h \sim U(K)

    A single network gets a simplex of its own; without connectors, networks are the corners of one simplex, and nothing
    is trained. One connector between two networks is a chain of two lines.

    Parameters
    ----------
    n_connectors : int, default=2
        Networks to train. Each adds a dimension to all simplexes.
    {settings}

    Notes
    -----
    Costs ``n_connectors`` trainings of ``n_epochs`` epochs, whose steps take up to H times as long as ordinary ones.
    Memory is n + k + 2 H + 4 states. {notes}

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Simplicial
    >>> corners = [{"w": torch.tensor(v)} for v in ([0.0, 0.0], [4.0, 0.0], [0.0, 3.0])]
    >>> Simplicial(n_connectors=0)(corners).volume
    6.0
    """

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> SimplicialComplex:
        """Return the complex, whose first corners are the very states; see :meth:`Connector.__call__`."""
        self.check()
        check_states(states)
        n = len(states)
        if not self.n_connectors:
            return SimplicialComplex(states, Complex([range(n)]), own_states=range(n))
        data = check_labelled(self, objective)
        with seeded(self, data, states[0]):
            corners, history = self._grow(states, data, np.random.RandomState(self.random_state))
        simplexes = [[k, *range(n, len(corners))] for k in range(n)]
        basis = Complex(simplexes, volumes_of(corners, simplexes))
        return SimplicialComplex(corners, basis, history, range(n))


@doc(settings=SETTINGS, notes=NOTES)
@dataclass(eq=False, repr=False)
class SimplexPerMode(_Growing):
    r"""Grow each network into a simplex of its own (ESPRO), for an ensemble of points of all simplexes.

    As :class:`Simplicial` for each network :math:`w_i` alone: the simplexes have no corner in common, so networks need
    not be connected. Each has the same share of the points of an ensemble.

    Parameters
    ----------
    n_connectors : int, default=2
        Networks to train for each network that is given: the dimension of its simplex.
    {settings}

    Notes
    -----
    Costs n times ``n_connectors`` trainings of ``n_epochs`` epochs, whose steps take up to H times as long as ordinary
    ones. Memory is n (k + 1) + 2 H + 4 states. {notes}

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import SimplexPerMode
    >>> modes = [{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}]
    >>> SimplexPerMode(n_connectors=0)(modes).basis
    Complex([(0,), (1,)])
    """

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> SimplicialComplex:
        """Return the simplexes, each with the very state that it was grown from; see :meth:`Connector.__call__`."""
        self.check()
        check_states(states)
        corners: list[State] = []
        simplexes: list[range] = []
        histories = []
        rng = np.random.RandomState(self.random_state)
        data = check_labelled(self, objective) if self.n_connectors else objective
        for state in states:
            grown = [state]
            if self.n_connectors:
                assert data is not None
                with seeded(self, data, state):
                    grown, history = self._grow([_tied_as_all(state, states)], data, rng)
                grown[0] = state
                histories.append(history)
            simplexes.append(range(len(corners), len(corners) + len(grown)))
            corners += grown
        mean = np.mean(histories, axis=0).tolist() if histories else []
        return SimplicialComplex(corners, Complex(simplexes), mean, [s[0] for s in simplexes])


def _tied_as_all(state: State, states: Sequence[State]) -> State:
    """Return a state whose tensors are tied where they are so in all states, in the order of the first one.

    A tie of one state alone is chance, and the order in which numbers are summed would be that of one state.
    """
    tied = owners(states)
    if tied == owners([state]) and [*tied] == [*state]:
        return state
    out: State = {}
    for key, owner in tied.items():
        out[key] = out[owner] if owner != key else state[key].detach().clone()
    return out


class Growth:
    """A complex whose last corner is trained: which points a step takes, and how the volume pulls at the corner."""

    def __init__(self, simplexes: Sequence[Sequence[int]], n_samples: int, volume: float):
        self.simplexes, self.n_samples, self.volume = [list(s) for s in simplexes], n_samples, volume
        self._logs = np.zeros(len(self.simplexes))
        self._slope: Tensor | None = None

    def draw(self, rng: np.random.RandomState, values: Tensor) -> np.ndarray:
        """Return the coefficients of some points, uniform in the complex."""
        if len(self.simplexes) > 1 or self.volume:
            self._measure(values)
        c = np.zeros((self.n_samples, len(values)))
        which = rng.choice(len(self.simplexes), self.n_samples, p=shares(self._logs))
        for row, k in zip(c, which, strict=True):
            row[self.simplexes[k]] = rng.dirichlet(np.ones(len(self.simplexes[k])))
        return c

    def pull(self, rng: np.random.RandomState | None, values: Tensor, slope: Tensor) -> None:
        """Add the gradient of minus the logarithm of the volume, times what it counts, to the slope of the corner."""
        if self._slope is not None:
            slope.add_(self._slope)

    def _measure(self, values: Tensor) -> None:
        """Set the logarithms of the volumes, up to what all have in common, and the gradient of that of their sum."""
        away = values[:-1] - values[-1]
        gram = (away @ away.T).double().cpu().numpy()
        found = [log_volume(gram[np.ix_(s[:-1], s[:-1])]) for s in self.simplexes]
        self._logs = np.array([log for log, _ in found])
        self._slope = None
        if self.volume and np.isfinite(self._logs).any():
            mix = np.zeros(len(away))
            for s, share, (_, coefficients) in zip(self.simplexes, shares(self._logs), found, strict=True):
                mix[s[:-1]] += share * coefficients
            self._slope = torch.as_tensor(self.volume * mix[None]).to(values) @ away


def log_volume(gram: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the logarithm of the volume of a simplex, up to a constant, and how it grows by its last corner.

    ``gram`` has the inner products of the other corners, seen from the last one. The gradient by this one is minus the
    sum of these corners by the coefficients that are returned. A flat simplex has no volume, and no coefficients.
    """
    nothing = -np.inf, np.zeros(len(gram))
    if not np.isfinite(gram).all() or not (np.diag(gram) > 0).all():  # which a diverged training makes, too
        return nothing
    lengths = np.sqrt(np.diag(gram))
    scaled = gram / np.outer(lengths, lengths)
    if np.linalg.eigvalsh(scaled)[0] < _FLAT:
        return nothing
    log = 0.5 * float(np.linalg.slogdet(scaled)[1]) + float(np.log(lengths).sum())
    return log, np.linalg.solve(gram, np.ones(len(gram)))


_FLAT = 1e-6
"""Smallest eigenvalue of the cosines between edges below which a simplex is flat, to numbers in single precision."""


def shares(logs: np.ndarray) -> np.ndarray:
    """Return the shares of volumes that are given by their logarithms; equal ones where all are zero."""
    if not np.isfinite(logs).any():
        return np.full(len(logs), 1 / len(logs))
    parts = np.exp(logs - logs[np.isfinite(logs)].max())
    out: np.ndarray = parts / parts.sum()
    return out
