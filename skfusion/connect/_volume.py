"""Volumes of simplexes by the distances of their corners (Cayley and Menger)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from skfusion.geometry import inner
from skfusion.state import State

_FLAT = 1e-11
"""Smallest eigenvalue of the cosines between edges below which corners count as lying in a plane: it is rounding."""


def volume_of(squares: np.ndarray) -> float:  # shape: (n_corners, n_corners)
    r"""Return the volume of the simplex whose corners have these squared distances.

    .. math:: V^2 = \frac{(-1)^{n + 1}}{2^n\, n!^2} \det \begin{pmatrix} 0 & 1^T \\ 1 & D \end{pmatrix}

    for n + 1 corners. The determinant is taken of the inner products of the edges of one corner, which is the same, and
    keeps its digits where edges have lengths that differ much. That of a single corner is 1, and that of corners in a
    plane of fewer dimensions is 0.
    """
    n = len(squares) - 1
    products = (squares[0, 1:, None] + squares[0, 1:] - squares[1:, 1:]) / 2
    lengths = np.sqrt(np.diag(products))
    if not n or not lengths.all():
        return float(not n)
    shares = np.linalg.eigvalsh(products / np.outer(lengths, lengths))
    return 0.0 if shares[0] < _FLAT else float(np.prod(lengths) * np.sqrt(np.prod(shares))) / math.factorial(n)


def volumes_of(controls: Sequence[State], simplexes: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the volume of each simplex among control states, in units of the weights, shape (n_simplexes,)."""
    products = inner(controls)
    lengths = np.diag(products)
    squares = np.maximum(lengths[:, None] + lengths - 2 * products, 0.0)
    np.fill_diagonal(squares, 0.0)
    return np.array([volume_of(squares[np.ix_(corners, corners)]) for corners in map(list, simplexes)])
