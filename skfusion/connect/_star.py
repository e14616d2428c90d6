"""Star domains: one centre that is linearly connected to many networks (Sonthalia et al., 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from skfusion._docs import doc, paragraphs
from skfusion.connect._base import Basis, Connector, Path, Subspace
from skfusion.connect._line import Line
from skfusion.connect._members import check_members
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._train import check_labelled, train, trained_names
from skfusion.connect._trained import TRAINING
from skfusion.objective import Objective
from skfusion.state import State, weighted_sum


@dataclass
class Spokes(Basis):
    """Segments from the first control state to each of the others; points are pairs of a segment and a position.

    Parameters
    ----------
    n_segments : int
        How many there are.
    concentration : float, default=1.0
        Of the positions of random points, which are 0 at the first control state, and have the distribution Beta(b, b):
        b = 1 is uniform, and more is nearer to the middle.
    """

    n_segments: int
    concentration: float = 1.0

    def weights(self, point: tuple[int, float], n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`Subspace.weights`."""
        k, t = point
        coefficients = np.zeros(n_controls)
        coefficients[[0, 1 + k]] = 1.0 - t, t
        return coefficients

    def within(self, point: Any) -> tuple[int, float]:
        """Return a point as an integer and a float, or raise ``ValueError``; see :meth:`Basis.within`."""
        try:
            k, t = point
        except (TypeError, ValueError):
            k, t = math.nan, math.nan
        if k not in range(self.n_segments) or not 0 <= t <= 1:
            raise ValueError(
                f"A point of this star is a pair (k, t) of the segment to network k, from 0 to {self.n_segments - 1}, "
                f"and the position t on it, from 0 at the centre to 1; got {point!r}."
            )
        return int(k), float(t)

    def sample(self, rng: np.random.RandomState, n_controls: int) -> tuple[int, float]:
        """Return a random point; see :meth:`Basis.sample`."""
        k, b = int(rng.randint(self.n_segments)), self.concentration
        return k, 0.5 if math.isinf(b) else float(rng.uniform() if b == 1 else rng.beta(b, b))

    def grid(self, n_points: int, n_controls: int) -> list[tuple[int, float]]:
        """Return equally spaced points of each segment, the centre once; see :meth:`Basis.grid`."""
        positions: list[float] = np.linspace(0, 1, n_points).tolist()
        return [(k, t) for k in range(self.n_segments) for t in positions if t or not k]

    def center(self, n_controls: int) -> tuple[int, float]:
        """Return the point of the first control state, at which all segments meet; see :meth:`Basis.center`."""
        return 0, 0.0

    def nearest(self, products: np.ndarray) -> tuple[int, float]:
        """Return the point nearest to the origin, by inner products of the controls; see :meth:`Basis.nearest`."""
        (own, *across), others = products[0], np.diag(products)[1:]
        squares = np.maximum(own - 2 * np.array(across) + others, 0.0)
        shares = np.divide(own - np.array(across), squares, out=np.zeros_like(squares), where=squares > 0)
        t = np.clip(shares, 0.0, 1.0)
        k = int(np.argmin(own - 2 * t * (own - np.array(across)) + t**2 * squares))
        return k, float(t[k])


@dataclass(eq=False, repr=False)
class StarDomain(Subspace):
    """The segments between a centre, which is the first control state, and networks, which are the others.

    A point is a pair ``(k, t)`` of the number of the network, from 0, and the position, from 0 at the centre to 1.

    Parameters
    ----------
    controls : sequence of State
        The centre, and K networks of its architecture.
    basis : Spokes
        What gives the coefficients.
    history : sequence of float, optional
        Mean training loss of each epoch.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Spokes, StarDomain
    >>> star = StarDomain([{"w": torch.tensor([v])} for v in (0.0, 4.0, 8.0)], Spokes(2))
    >>> star.at((1, 0.25))["w"].item(), star.centre["w"].item()
    (2.0, 0.0)
    """

    @property
    def networks(self) -> tuple[int, ...]:
        """The positions of all but the centre; see :meth:`Subspace.networks`."""
        return tuple(range(1, len(self.controls)))

    @property
    def centre(self) -> State:
        """The state that is joined to all networks, to be used as one network; it needs BatchNorm statistics."""
        return self.controls[0]

    def segment(self, k: int) -> Path:
        """Return the straight path from the centre to a network.

        Parameters
        ----------
        k : int
            The number of the network, from 0.

        Returns
        -------
        Path
            Both of its ends count as points whose BatchNorm statistics must be estimated again.
        """
        k, _ = self.basis.within((k, 0.0))
        return Path([self.centre, self.controls[1 + k]], Line(), own_ends=False)


@doc(paragraphs(TRAINING))
@dataclass(eq=False, repr=False)
class Star(Connector):
    r"""Join many networks linearly to one centre, which is trained (star domains).

    .. math:: \min_{\theta_*} \; \mathbb{E}_{k,\, t} \left[ L(\theta_k(t))
        + \tfrac{\lambda}{2} \lVert \theta_k(t) \rVert^2 \right], \qquad \theta_k(t) = (1 - t)\,\theta_* + t\,\theta_k

    where :math:`\theta_1, \dots, \theta_K` are the networks that are given, of which any k is as likely, and
    :math:`t \sim \mathrm{Beta}(b, b)`. The centre alone is a single network that fuses them all, a soup.

    Parameters
    ----------
    concentration : float, default=1.0
        How much the positions that are trained stay near the middle of the segments, b above: 1 draws them uniformly,
        2 favours the middle, and infinity takes the middle alone. More lower the barriers, and the centre itself, which
        is seldom trained then, may be a worse network.
    n_epochs : int, default=50
        Epochs of training. More lower the loss on the segments and of the centre.
    {lr}
    {momentum}
    weight_decay : float, default=0.0
        L2 penalty λ on the points. That of the networks' own training is a good value.
    {random_state}

    Notes
    -----
    The centre starts in the mean of the networks, which stay as they are, bit for bit. A step draws one network and one
    position for its mini-batch, and costs a step of ordinary training and O(K d), which is the memory too. The rules of
    :class:`Bezier` hold for the learning rate, the penalty, BatchNorm, and tensors that are equal in all networks,
    which stay as they are.

    The centre of a convex loss goes beyond the minimum, as it makes up for the networks on the other side of it: in a
    quadratic bowl, :math:`\theta_* = -\tfrac{1}{2}` of their mean for b = 1, :math:`-\tfrac{2}{3}` for b = 2, and
    :math:`-1` in the limit. The paper trains for 200 epochs by SGD with a learning rate of 0.1 and a weight decay
    of 5e-4 on the centre itself, starts it at random, and may match the units of the networks to it in each epoch: here
    align them before.

    References
    ----------
    Sonthalia, Rubinstein, Abbasnejad and Oh, "Do deep neural network solutions form a star domain?", 2024,
    arXiv:2403.07968.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Star
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net, rows = torch.nn.Linear(1, 1, bias=False), Batch(torch.ones(9, 1), torch.zeros(9, 1))
    >>> data = ModuleObjective(
    ...     net, lambda: [rows] * 20, criterion=lambda out, batch: (out - batch.y).square().mean()
    ... )
    >>> networks = [{"weight": torch.tensor([[w]])} for w in (1.0, 2.0, 3.0)]
    >>> star = Star(lr=0.02)(networks, data)
    >>> round(star.centre["weight"].item(), 1)
    -1.0
    """

    n_states: ClassVar[int | None] = None

    concentration: float = 1.0
    n_epochs: int = 50
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    random_state: int = 0
    _test_sets = ({"n_epochs": 30}, {"concentration": 2.0, "n_epochs": 30, "weight_decay": 1e-3})

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_epochs")
        check_steps(self, "weight_decay")
        b = self.concentration
        if not isinstance(b, Real) or isinstance(b, bool):
            raise TypeError(f"concentration must be a number; got {b!r}.")
        if not float(b) > 0:
            raise ValueError(f"concentration must be above 0, such as 1 for uniform positions; got {b!r}.")

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> StarDomain:
        """Return the segments to the trained centre; see :meth:`Connector.__call__`.

        Parameters
        ----------
        states : sequence of State
            K networks of one architecture, two or more; aligned, where units can change places.
        objective : Objective
            Labelled data to train on.

        Returns
        -------
        StarDomain
            Its control states are the centre and the very states that were given.
        """
        check_members(self, states)
        self.check()
        data = check_labelled(self, objective)
        n = len(states)
        controls = [weighted_sum(states, [1 / n] * n), *states]
        history: list[float] = []
        if trained_names(controls, states, [0], data.module):
            controls, history = train(self, Spokes(n, self.concentration), controls, [0], states, data)
        return StarDomain(controls, Spokes(n), history)
