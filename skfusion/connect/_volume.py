"""Volumes of simplexes by the distances of their corners (Cayley and Menger)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from skfusion.geometry import inner
from skfusion.state import State

_FLAT = 1e-13
"""Determinant, of distances of at most 1, below which the corners count as lying in a plane: it is rounding."""


def volume_of(squares: np.ndarray) -> float:  # shape: (n_corners, n_corners)
    r"""Return the volume of the simplex whose corners have these squared distances.

    .. math:: V^2 = \frac{(-1)^{n + 1}}{2^n\, n!^2} \det \begin{pmatrix} 0 & 1^T \\ 1 & D \end{pmatrix}

    for n + 1 corners. That of a single corner is 1, and that of corners in a plane of fewer dimensions is 0.
    """
    n = len(squares) - 1
    scale = float(squares.max())
    if n == 0 or scale == 0:
        return float(n == 0)
    bordered = np.ones((n + 2, n + 2))
    bordered[0, 0], bordered[1:, 1:] = 0.0, squares / scale
    square = (-1) ** (n + 1) * float(np.linalg.det(bordered))
    return 0.0 if square < _FLAT else math.sqrt(square / 2**n) / math.factorial(n) * scale ** (n / 2)


def volumes_of(controls: Sequence[State], simplexes: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the volume of each simplex among control states, in units of the weights, shape (n_simplexes,)."""
    products = inner(controls)
    lengths = np.diag(products)
    squares = np.maximum(lengths[:, None] + lengths - 2 * products, 0.0)
    np.fill_diagonal(squares, 0.0)
    return np.array([volume_of(squares[np.ix_(corners, corners)]) for corners in map(list, simplexes)])
