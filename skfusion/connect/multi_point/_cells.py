"""A rectangle of cells, each of which is a network: points of a plane that three vectors span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skfusion.connect._base import Basis, Subspace

DEFAULT = (5, 5)
"""Rows and columns where no mask is given."""


def checked_mask(mask: ArrayLike | None) -> np.ndarray:
    """Return a mask as integers, all good when omitted, or raise ``ValueError`` where it is none."""
    if mask is None:
        return np.ones(DEFAULT, np.int64)
    given = np.asarray(mask)
    if given.ndim != 2 or not given.size or not np.isin(given, (-1, 0, 1)).all():
        raise ValueError(
            "mask has a row and a column for each cell, with 1 for good networks, -1 for bad ones, and 0 for any; got "
            f"shape {given.shape} and the values {np.unique(given)[:5].tolist()}."
        )
    if not (given == 1).any():
        raise ValueError("mask has no cell that is 1, so no network would be trained to be good.")
    return given.astype(np.int64)


@dataclass(eq=False, repr=False)
class Cells(Basis):
    """A rectangle whose points are pairs of a row and a column, from 0 on; whole numbers are cells.

    The middle of the rectangle is the first of three control states, and the other two are one row below and one column
    to the right of it.

    Parameters
    ----------
    mask : array-like of shape (n_rows, n_columns)
        1 for good cells, -1 for bad ones, and 0 for others.

    Examples
    --------
    >>> from skfusion.connect import Cells
    >>> Cells([[1, 1, 1], [1, -1, 1]]).weights((0.5, 2.0), 3).tolist()
    [0.0, 0.0, 1.0]
    """

    mask: Any

    def __repr__(self) -> str:
        return f"Cells({self.shape[0]} x {self.shape[1]})"

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns there are."""
        n_rows, n_columns = np.shape(self.mask)
        return n_rows, n_columns

    def weights(self, point: Any, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`Subspace.weights`."""
        down, right = np.subtract(point, self.center(n_controls)).tolist()
        return np.array([1.0 - down - right, down, right])

    def within(self, point: Any) -> tuple[float, float]:
        """Return a point as two floats, or raise ``ValueError`` off the rectangle; see :meth:`Basis.within`."""
        at, last = np.asarray(point, np.float64), np.subtract(self.shape, 1)
        if at.shape != (2,) or not ((at >= 0) & (at <= last)).all():
            raise ValueError(
                f"A point of this plane is a row from 0 to {last[0]} and a column from 0 to {last[1]}; got {point!r}."
            )
        return float(at[0]), float(at[1])

    def sample(self, rng: np.random.RandomState, n_controls: int) -> tuple[float, float]:
        """Return a random point, uniform in the rectangle; see :meth:`Basis.sample`."""
        row, column = rng.uniform(size=2) * np.subtract(self.shape, 1)
        return float(row), float(column)

    def grid(self, n_points: int, n_controls: int) -> list[tuple[float, float]]:
        """Return points with ``n_points`` along each side; see :meth:`Basis.grid`."""
        rows, columns = (np.linspace(0, n - 1, n_points).tolist() for n in self.shape)
        return [(row, column) for row in rows for column in columns]

    def spread(self, n_points: int, rng: np.random.RandomState, n_controls: int) -> list[tuple[float, float]]:
        """Return good cells in random order, all of them before one comes again; see :meth:`Basis.spread`."""
        good = np.argwhere(np.asarray(self.mask) == 1).tolist()
        rounds = [rng.permutation(len(good)) for _ in range(-(-n_points // len(good)))]
        return [(float(good[k][0]), float(good[k][1])) for k in np.concatenate(rounds)[:n_points]]

    def center(self, n_controls: int) -> tuple[float, float]:
        """Return the middle of the rectangle; see :meth:`Basis.center`."""
        n_rows, n_columns = self.shape
        return (n_rows - 1) / 2, (n_columns - 1) / 2

    def nearest(self, products: np.ndarray) -> tuple[float, float]:
        """Return the point nearest to the origin, by inner products of the controls; see :meth:`Basis.nearest`."""
        last, middle = np.subtract(self.shape, 1), np.array(self.center(3))
        turn = np.array([[1.0, -1.0, -1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # of origin and axes, by control states
        gram = turn.T @ products @ turn
        free = middle - np.linalg.lstsq(gram[1:, 1:], gram[1:, 0], rcond=None)[0]
        places = [free]
        for axis in (0, 1):  # and the nearest points of the edges
            for edge in (0.0, float(last[axis])):
                step, other = edge - middle[axis], 1 - axis
                slope = gram[1 + other, 0] + step * gram[1 + axis, 1 + other]
                square = gram[1 + other, 1 + other]
                place = np.empty(2)
                place[axis], place[other] = edge, middle[other] - (slope / square if square > 0 else 0.0)
                places.append(place)
        inside = [free] if ((free >= 0) & (free <= last)).all() else [np.clip(p, 0, last) for p in places[1:]]
        coefficients = [self.weights(p, 3) for p in inside]
        row, column = inside[int(np.argmin([c @ products @ c for c in coefficients]))]
        return float(row), float(column)


@dataclass(eq=False, repr=False)
class CellPlane(Subspace):
    """A plane of networks, one for each cell of a mask, in three control states.

    A point is a pair of a row and a column, from 0 on; those between the cells are networks too.

    Parameters
    ----------
    controls : sequence of three State
        The network in the middle of the cells, and those one row below and one column to the right of it.
    basis : Cells
        What gives the coefficients; it has the mask.
    history : sequence of float, optional
        Mean training loss of good cells in each epoch.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import CellPlane, Cells
    >>> plane = CellPlane([{"w": torch.tensor([v])} for v in (0.0, 1.0, 10.0)], Cells([[1] * 5] * 3))
    >>> len(plane.cells()), plane.at((2, 4))["w"].item()
    (15, 21.0)
    """

    basis: Cells

    @property
    def networks(self) -> tuple[int, ...]:
        """None: all points need BatchNorm statistics; see :meth:`Subspace.networks`."""
        return ()

    def cells(self, kind: int | None = None) -> list[tuple[int, int]]:
        """Return the cells row by row.

        Parameters
        ----------
        kind : {1, -1, 0}, optional
            Only those with this value in the mask; all when omitted.

        Returns
        -------
        list of (int, int)
            Rows and columns.
        """
        mask = np.asarray(self.basis.mask)
        chosen = np.argwhere(np.ones_like(mask) if kind is None else mask == kind)
        return [(int(row), int(column)) for row, column in chosen]
