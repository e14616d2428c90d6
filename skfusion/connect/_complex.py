"""Simplexes of networks: a subspace whose points are mixtures of the corners of one of its simplexes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skfusion.connect._base import Basis, Subspace
from skfusion.connect._projection import nearest_in_simplexes
from skfusion.connect._volume import volumes_of

_SLACK = 1e-6
"""How far coefficients may be from a sum of one, and below zero: they come from single precision too."""


class Complex(Basis):
    """Simplexes among control states; a point has the coefficients of all of them, shape (n_controls,).

    Coefficients are at least 0 and sum to one, and only the corners of one of the simplexes have any.

    Parameters
    ----------
    simplexes : sequence of sequences of int
        The positions of the control states at the corners of each; simplexes may share corners.
    shares : sequence of float, optional
        How often a random point lies in each simplex; all are equal when omitted. The volumes give points that are
        uniform in the complex.

    Examples
    --------
    >>> from skfusion.connect import Complex
    >>> two_lines = Complex([(0, 2), (1, 2)])
    >>> two_lines.within([0.25, 0.0, 0.75]).tolist()
    [0.25, 0.0, 0.75]
    >>> len(two_lines.grid(3, 3))
    5
    """

    def __init__(self, simplexes: Sequence[Sequence[int]], shares: ArrayLike | None = None):
        self.simplexes = tuple(tuple(int(k) for k in corners) for corners in simplexes)
        for corners in self.simplexes:
            if not corners or len({*corners}) < len(corners) or min(corners) < 0:
                raise ValueError(f"The corners of a simplex are different control states, at least one; got {corners}.")
        given = np.ones(len(self.simplexes)) if shares is None else np.asarray(shares, np.float64)
        if (
            not self.simplexes
            or given.shape != (len(self.simplexes),)
            or not np.isfinite(given).all()
            or min(given) < 0
        ):
            raise ValueError(
                "A complex has at least one simplex, and a share of at least 0 for each; got "
                f"{len(self.simplexes)} simplexes and shares {shares!r}."
            )
        if not given.any():  # simplexes without a volume
            given = np.ones(len(given))
        self.shares = given / given.sum()

    def __repr__(self) -> str:
        return f"Complex({[*self.simplexes]})"

    def weights(self, point: Any, n_controls: int) -> np.ndarray:
        """Return the coefficients, which are the point itself; see :meth:`Basis.weights`."""
        if len(point) != n_controls:
            raise ValueError(
                f"A point has a coefficient for each of the {n_controls} control states; got {len(point)}."
            )
        return np.asarray(point, np.float64)

    def within(self, point: Any) -> np.ndarray:
        """Return a point, or raise ``ValueError`` where it is in none of the simplexes; see :meth:`Basis.within`."""
        c = np.asarray(point, np.float64)
        if c.ndim != 1 or not np.isfinite(c).all():
            raise ValueError(f"A point has a finite coefficient for each control state; got {point}.")
        if (c < -_SLACK).any() or abs(c.sum() - 1) > _SLACK:
            raise ValueError(
                f"The point {c.tolist()} is outside its simplex: coefficients are at least 0 and sum to one; these sum "
                f"to {c.sum():.6g}."
            )
        c = np.where(c < 0, 0.0, c)
        used = {*np.flatnonzero(c).tolist()}
        if not any(used <= {*corners} for corners in self.simplexes):
            raise ValueError(
                f"The point {c.tolist()} is between the simplexes: only the corners of one of them, of "
                f"{[*self.simplexes]}, may have coefficients."
            )
        whole: np.ndarray = c / c.sum()
        return whole

    def sample(self, rng: np.random.RandomState, n_controls: int) -> np.ndarray:
        """Return a random point, uniform in a simplex that is drawn by the shares; see :meth:`Basis.sample`."""
        k = int(rng.choice(len(self.simplexes), p=self.shares)) if len(self.simplexes) > 1 else 0
        return self._in(k, rng, n_controls)

    def spread(self, n_points: int, rng: np.random.RandomState, n_controls: int) -> list[np.ndarray]:
        """Return random points, of which each simplex has its share; see :meth:`Basis.spread`."""
        ends = np.cumsum(self.shares) * n_points
        ends[-1] = n_points
        of_each = np.searchsorted(ends, np.arange(n_points) + rng.uniform(), side="right")
        return [self._in(min(int(k), len(self.simplexes) - 1), rng, n_controls) for k in of_each]

    def _in(self, k: int, rng: np.random.RandomState, n_controls: int) -> np.ndarray:
        """Return a point that is uniform in one of the simplexes."""
        c, corners = np.zeros(n_controls), [*self.simplexes[k]]
        c[corners] = rng.dirichlet(np.ones(len(corners)))
        return c

    def grid(self, n_points: int, n_controls: int) -> list[np.ndarray]:
        """Return points with ``n_points`` along each side of each simplex, the corners first; see :meth:`Basis.grid`.

        A point that simplexes share comes once.
        """
        steps = max(n_points - 1, 1)
        points: dict[tuple[int, ...], None] = {}
        for corners in self.simplexes:
            points |= dict.fromkeys(tuple(steps * int(i == k) for i in range(n_controls)) for k in corners)
        for corners in self.simplexes:
            for parts in _summing_to(steps, len(corners)):
                whole = [0] * n_controls
                for k, part in zip(corners, parts, strict=True):
                    whole[k] = part
                points.setdefault(tuple(whole))
        return [np.array(p) / steps for p in points]

    def center(self, n_controls: int) -> np.ndarray:
        """Return the middle of the corners that all simplexes share; see :meth:`Basis.center`."""
        shared = [*set.intersection(*map(set, self.simplexes))]
        if not shared:
            raise ValueError(
                f"The {len(self.simplexes)} simplexes have no corner in common, so there is no network in the middle: "
                "predict by an ensemble, or by the best point."
            )
        c = np.zeros(n_controls)
        c[shared] = 1 / len(shared)
        return c

    def nearest(self, products: np.ndarray) -> np.ndarray:
        """Return the nearest point, by a quadratic programme for each simplex; see :meth:`Basis.nearest`."""
        return nearest_in_simplexes(self.simplexes, products)


@dataclass(eq=False, repr=False)
class SimplicialComplex(Subspace):
    """Simplexes whose corners are networks.

    Parameters
    ----------
    controls : sequence of State
        Of one architecture, m of them: the corners.
    basis : Complex
        Which of them span simplexes.
    history : sequence of float, optional
        Mean training loss of each epoch, where corners were trained.
    own_states : sequence of int, default=()
        Positions of the corners that are networks as their own training left them, which have BatchNorm statistics of
        their own.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Complex, SimplicialComplex
    >>> corners = [{"w": torch.tensor(v)} for v in ([0.0, 0.0], [4.0, 0.0], [0.0, 3.0])]
    >>> triangle = SimplicialComplex(corners, Complex([(0, 1, 2)]))
    >>> round(triangle.volume, 6), [round(v, 6) for v in triangle.midpoint["w"].tolist()]
    (6.0, [1.333333, 1.0])
    """

    basis: Complex
    own_states: Sequence[int] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.own_states = tuple(self.own_states)
        highest = max(k for corners in self.basis.simplexes for k in corners)
        if highest >= len(self.controls):
            raise ValueError(f"A simplex has the corner {highest}, and there are {len(self.controls)} control states.")

    @property
    def networks(self) -> tuple[int, ...]:
        """The positions of the corners with statistics of their own; see :meth:`Subspace.networks`."""
        return tuple(self.own_states)

    @property
    def volumes(self) -> np.ndarray:
        """The volume of each simplex, in units of the weights to the power of its dimension; 0 where it is flat."""
        return volumes_of(self.controls, self.basis.simplexes)

    @property
    def volume(self) -> float:
        """The sum of the volumes, by the determinant of Cayley and Menger; see :attr:`volumes`."""
        return float(self.volumes.sum())


def _summing_to(total: int, n_parts: int) -> list[tuple[int, ...]]:
    """Return all lists of whole numbers from 0 on that have a given sum."""
    bars = combinations(range(total + n_parts - 1), n_parts - 1)
    return [tuple(b - a - 1 for a, b in zip((-1, *bar), (*bar, total + n_parts - 1), strict=True)) for bar in bars]
