"""Bases of subspaces: the coefficients of control states as functions of a point, and the domain of points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from skfusion.connect._projection import nearest_position


class Basis(ABC):
    """The coefficients of control states as functions of the points of a domain, which the basis knows."""

    @abstractmethod
    def weights(self, point: Any, n_controls: int) -> np.ndarray:
        """Return the coefficients of the control states at a point, shape (n_controls,); they sum to one."""

    @abstractmethod
    def within(self, point: Any) -> Any:
        """Return a point in the form that ``weights`` takes, or raise ``ValueError`` where it is not in the domain."""

    @abstractmethod
    def sample(self, rng: np.random.RandomState, n_controls: int) -> Any:
        """Return a point that is uniform in the domain."""

    @abstractmethod
    def grid(self, n_points: int, n_controls: int) -> list[Any]:
        """Return points that are spread evenly over the domain, its corners included, ``n_points`` along each side."""

    def spread(self, n_points: int, rng: np.random.RandomState, n_controls: int) -> list[Any]:
        """Return random points for an ensemble, where a basis does not know better; see :meth:`Subspace.spread`."""
        return [self.sample(rng, n_controls) for _ in range(n_points)]

    def center(self, n_controls: int) -> Any:
        """Return the point in the middle of the domain, or raise ``ValueError`` where there is none."""
        raise ValueError(f"{self!r} does not say where the middle of its domain is.")

    def nearest(self, products: np.ndarray) -> Any:
        """Return the point nearest to the origin, by the inner products of the controls: that of a grid."""
        points = [(p, self.weights(p, len(products))) for p in self.grid(21, len(products))]
        return min(points, key=lambda pair: float(pair[1] @ products @ pair[1]))[0]


class PathBasis(Basis):
    """A basis whose domain is the positions from 0 to 1, at which it has the first and the last control state."""

    @abstractmethod
    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients of the control states at a position, in float64; see :meth:`Subspace.weights`."""

    def within(self, t: Any) -> float:
        """Return a position, or raise ``ValueError`` where it is not from 0 to 1; see :meth:`Path.weights`."""
        if not 0 <= t <= 1:
            raise ValueError(f"A position on a path is from 0 to 1; got {t}.")
        return float(t)

    def sample(self, rng: np.random.RandomState, n_controls: int) -> float:
        """Return a position that is uniform from 0 to 1; see :meth:`Path.sample`."""
        return float(rng.uniform())

    def grid(self, n_points: int, n_controls: int) -> list[float]:
        """Return equally spaced positions, 0 and 1 included; see :meth:`Path.grid`."""
        positions: list[float] = np.linspace(0, 1, n_points).tolist()
        return positions

    def spread(self, n_points: int, rng: np.random.RandomState, n_controls: int) -> list[float]:
        """Return equally spaced positions; see :meth:`Basis.spread`."""
        return self.grid(n_points, n_controls)

    def center(self, n_controls: int) -> float:
        """Return 0.5; see :meth:`Basis.center`."""
        return 0.5

    def nearest(self, products: np.ndarray) -> float:
        """Return the position of the nearest point; see :meth:`Basis.nearest`."""
        return nearest_position(lambda t: self.weights(t, len(products)), products)


class ByLength(PathBasis):
    """Another basis, whose positions ``t`` are found by the share of the length that lies before them."""

    def __init__(self, basis: Basis, t: np.ndarray, share: np.ndarray):
        self.basis, self.t, self.share = basis, t, share

    def __repr__(self) -> str:
        return f"ByLength({self.basis!r})"

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        return self.basis.weights(float(np.interp(t, self.share, self.t)), n_controls)
