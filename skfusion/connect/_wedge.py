"""Connectors of many dimensions: simplexes of low loss between networks (Fort and Jastrzebski, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from skfusion._docs import doc, paragraphs
from skfusion.connect._base import Basis, Connector, Subspace
from skfusion.connect._members import check_members
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._train import check_labelled, train, trained_names
from skfusion.connect._trained import TRAINING
from skfusion.objective import Objective
from skfusion.state import State, weighted_sum

_MOST = 6
"""Networks, between which there are 57 vertices to train."""
_SLACK = 1e-6
"""How far the coordinates of a point may be from a sum of one, or below zero."""


@dataclass
class Subdivision(Basis):
    """A simplex that has a control state for each of its corners, edges, faces and so on: all its subsets of corners.

    Points have a coordinate for each corner; they are at least 0 and sum to one. The control state of a subset stands
    at its barycentre, and between control states the map is linear, on the pieces of the barycentric subdivision.

    Parameters
    ----------
    n_corners : int
        How many corners the simplex has.

    Examples
    --------
    >>> from skfusion.connect import Subdivision
    >>> Subdivision(3).weights([0.5, 0.5, 0.0], 7).tolist()  # in the middle of an edge
    [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """

    n_corners: int

    def weights(self, point: Any, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`Subspace.weights`."""
        at, places = np.asarray(point, np.float64), _places(self.n_corners)
        order = np.argsort(-at, kind="stable")
        falls = at[order] - np.append(at[order[1:]], 0.0)
        coefficients, corners = np.zeros(n_controls), 0
        for size, (k, fall) in enumerate(zip(order.tolist(), falls.tolist(), strict=True), 1):
            corners |= 1 << k
            coefficients[places[corners]] = size * fall
        return coefficients

    def within(self, point: Any) -> np.ndarray:
        """Return the coordinates of a point, or raise ``ValueError`` off the simplex; see :meth:`Basis.within`."""
        at = np.asarray(point, np.float64)
        if at.shape != (self.n_corners,) or not (at >= -_SLACK).all() or not abs(at.sum() - 1) <= _SLACK:
            raise ValueError(
                f"A point of this simplex has {self.n_corners} coordinates of at least 0, which sum to one; got "
                f"{point!r}."
            )
        at = np.maximum(at, 0.0)
        whole: np.ndarray = at / at.sum()
        return whole

    def sample(self, rng: np.random.RandomState, n_controls: int) -> np.ndarray:
        """Return a random point, uniform in the simplex; see :meth:`Basis.sample`."""
        cuts = np.sort(rng.uniform(size=self.n_corners - 1))
        gaps: np.ndarray = np.diff(cuts, prepend=0.0, append=1.0)[::-1]
        return gaps

    def grid(self, n_points: int, n_controls: int) -> list[np.ndarray]:
        """Return points with ``n_points`` along each edge; see :meth:`Basis.grid`."""
        steps = max(n_points - 1, 1)
        bars = combinations(range(steps + self.n_corners - 1), self.n_corners - 1)
        return [(np.diff(cuts, prepend=-1, append=steps + self.n_corners - 1) - 1) / steps for cuts in map(list, bars)]

    def center(self, n_controls: int) -> np.ndarray:
        """Return the barycentre; see :meth:`Basis.center`."""
        return np.full(self.n_corners, 1 / self.n_corners)

    def nearest(self, products: np.ndarray) -> np.ndarray:
        """Return the point nearest to the origin, by inner products of the controls; see :meth:`Basis.nearest`.

        It lies inside a face of one of the pieces, all of which are tried: these have the vertices of nested subsets.
        """
        best, places = (np.inf, self.center(len(products))), _places(self.n_corners)
        for chain in _nested(self.n_corners):
            rows = [places[corners] for corners in chain]
            gram = products[np.ix_(rows, rows)]
            system = np.block([[gram, np.ones((len(rows), 1))], [np.ones((1, len(rows))), np.zeros((1, 1))]])
            shares = np.linalg.lstsq(system, np.eye(len(system))[-1], rcond=None)[0][:-1]  # they sum to one
            if (shares < -_SLACK).any():
                continue
            shares = np.maximum(shares, 0.0) / np.maximum(shares, 0.0).sum()
            square = float(shares @ gram @ shares)
            if square < best[0]:
                best = square, shares @ np.array([_barycentre(corners, self.n_corners) for corners in chain])
        return best[1]


def subsets(n: int) -> list[tuple[int, ...]]:
    """Return the subsets of n corners in the order of their control states: by size, the corners first."""
    return [corners for size in range(1, n + 1) for corners in combinations(range(n), size)]


@lru_cache(maxsize=32)
def _places(n: int) -> dict[int, int]:
    """Return the position of the control state of each subset, whose corners are the bits of a number."""
    return {sum(1 << k for k in corners): place for place, corners in enumerate(subsets(n))}


@lru_cache(maxsize=8)
def _nested(n: int) -> list[tuple[int, ...]]:
    """Return all series of nested subsets of n corners, which are the bits of numbers, the smallest first."""
    chains: list[tuple[int, ...]] = []
    fresh: list[tuple[int, ...]] = [(corners,) for corners in _places(n)]
    while fresh:
        chains += fresh
        fresh = [(*c, more) for c in fresh for more in _places(n) if more != c[-1] and more & c[-1] == c[-1]]
    return chains


def _barycentre(corners: int, n: int) -> np.ndarray:
    """Return the coordinates of the middle of a subset, whose corners are the bits of a number."""
    inside = np.array([float(corners >> k & 1) for k in range(n)])
    middle: np.ndarray = inside / inside.sum()
    return middle


@dataclass(eq=False, repr=False)
class WedgeSimplex(Subspace):
    """A simplex whose corners are networks, bent at the barycentres of its faces.

    A point has a coordinate for each network; they are at least 0 and sum to one.

    Parameters
    ----------
    controls : sequence of State
        Those of the subsets of the K networks by size, ``2 ** K - 1`` of them: first the networks.
    basis : Subdivision
        What gives the coefficients.
    history : sequence of float, optional
        Mean training loss of each epoch, of one face after another.
    """

    basis: Subdivision

    @property
    def networks(self) -> tuple[int, ...]:
        """The positions of the corners; see :meth:`Subspace.networks`."""
        return tuple(range(self.basis.n_corners))


@doc(paragraphs(TRAINING))
@dataclass(eq=False, repr=False)
class Wedge(Connector):
    r"""Join networks by a simplex of low loss, which is bent at the barycentre of each of its faces.

    Each face F of two networks or more gets a vertex c, which starts at their mean, and is trained by the expected loss
    in the simplexes between it and the facets of F, which were joined in the same way before:

    .. math:: \min_{c} \; \mathbb{E}_{\theta} \left[ L(\theta) + \tfrac{\lambda}{2} \lVert \theta \rVert^2 \right],
        \qquad \theta \sim U\Big(\bigcup_{G \text{ facet of } F} \mathrm{conv}(\{c\} \cup G)\Big)

    Two networks are joined by a chain of two lines, as :class:`PolyChain` does; three by six triangles.

    Parameters
    ----------
    n_epochs : int, default=50
        Epochs of training for each vertex. More lower the loss in the simplexes.
    {lr}
    {momentum}
    weight_decay : float, default=0.0
        L2 penalty λ on the points. That of the networks' own training is a good value.
    {random_state}

    Notes
    -----
    K networks take :math:`2^K - K - 1` trainings as those of :class:`PolyChain` with one bend, and as many new states,
    so at most six are joined. Networks stay as they are, bit for bit, and so do faces: that of two of them is what
    joins these two alone. Points are uniform in the coordinates of the simplex, in which its pieces are equally large.
    The paper describes how networks lie on wedges of low loss that meet, and says little about the training; that the
    vertices are trained face by face is this library's. Check the largest loss by :func:`skfusion.landscape.loss_at`
    on a grid.

    References
    ----------
    Fort and Jastrzebski, "Large scale structure of neural network loss landscapes", NeurIPS 2019, arXiv:1906.04724.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Wedge
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net, rows = torch.nn.Linear(3, 1, bias=False), Batch(torch.ones(9, 3), torch.zeros(9, 1))
    >>> data = ModuleObjective(
    ...     net, lambda: [rows] * 9, criterion=lambda out, batch: (out - batch.y).square().mean()
    ... )
    >>> networks = [{"weight": 3 * row[None]} for row in torch.eye(3)]
    >>> simplex = Wedge(lr=0.01)(networks, data)
    >>> len(simplex.controls), simplex.at([0.0, 1.0, 0.0]) is networks[1]
    (7, True)
    """

    n_states: ClassVar[int | None] = None

    n_epochs: int = 50
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    random_state: int = 0
    _test_sets = ({"n_epochs": 20}, {"n_epochs": 20, "weight_decay": 1e-3})

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_epochs")
        check_steps(self, "weight_decay")

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> WedgeSimplex:
        """Return the trained simplex; see :meth:`Connector.__call__`.

        Parameters
        ----------
        states : sequence of State
            Two to six networks of one architecture; aligned, where units can change places.
        objective : Objective
            Labelled data to train on.

        Returns
        -------
        WedgeSimplex
            Its first control states are the very states that were given.
        """
        check_members(self, states, most=_MOST)
        self.check()
        data = check_labelled(self, objective)
        vertices: dict[tuple[int, ...], State] = {(k,): state for k, state in enumerate(states)}
        history: list[float] = []
        for face in subsets(len(states))[len(states) :]:
            inner = [vertices[tuple(face[k] for k in part)] for part in subsets(len(face))[:-1]]
            vertices[face], losses = self._vertex([states[k] for k in face], inner, data)
            history += losses
        return WedgeSimplex([*vertices.values()], Subdivision(len(states)), history)

    def _vertex(
        self, corners: Sequence[State], inner: Sequence[State], data: Objective
    ) -> tuple[State, Sequence[float]]:
        """Return the trained vertex of a face, whose other control states are known, and the losses of its training."""
        n = len(corners)
        start, place = weighted_sum(corners, [1 / n] * n), len(inner)
        if not trained_names([*inner, start], corners, [place], data.module):
            return start, []
        controls, history = train(self, Subdivision(n), [*inner, start], [place], corners, data)
        return controls[place], history
