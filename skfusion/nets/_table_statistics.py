"""What a network for tables has to know of their columns, learned from the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skfusion._rows import Rows, Task

N_BINS = 32
"""Bins of the piecewise-linear encoding of a number, at most."""

_MOST_ENCODED = 2048
"""Numbers that a row is encoded by, at most: tables of many columns have fewer bins."""

_MOST_BINNED = 50_000
"""Rows that the quantiles are computed from, at most."""


@dataclass(frozen=True, eq=False)
class TableStatistics:
    """What a :class:`TabularMLP` has to know of the columns of a table, learned from the training rows.

    Parameters
    ----------
    center, scale : ndarray of shape (n_numbers,)
        Numbers become ``(x - center) / scale``: the median, and the distance between the quartiles. Where these are
        equal the scale is half the range, and 1 in a constant column.
    edges, inverse_widths : ndarray of shape (n_numbers, n_bins)
        The left edge of each bin after scaling and clipping, and one over its width; 0 for bins that a column lacks.
    n_categories : tuple of int
        Codes of each categorical column: one more than the largest one.
    y_mean, y_std : ndarray of shape (n_out,), optional
        Of the targets, where these are values.
    """

    center: np.ndarray
    scale: np.ndarray
    edges: np.ndarray
    inverse_widths: np.ndarray
    n_categories: tuple[int, ...]
    y_mean: np.ndarray | None = None
    y_std: np.ndarray | None = None

    def of_columns(self, columns: np.ndarray) -> TableStatistics:
        """Return the statistics of some of the columns, none of which is categorical.

        Parameters
        ----------
        columns : ndarray of int
            Their positions.

        Returns
        -------
        TableStatistics
            In the order of ``columns``.
        """
        by_number = ("center", "scale", "edges", "inverse_widths")
        return replace(self, **{name: getattr(self, name)[columns] for name in by_number})


def clipped(u: Tensor) -> Tensor:
    """Return numbers that lie between -3 and 3, nearly as they were where they are small."""
    u = u.clamp(-1e15, 1e15)  # the square of a larger one would leave float32
    return u / torch.sqrt(1 + (u / 3) ** 2)


def number_columns(n_in: int, categorical: Sequence[int]) -> list[int]:
    """Return the positions of the columns that are no categories; raise where those of categories are none."""
    if wrong := [c for c in categorical if c not in range(n_in)]:
        raise ValueError(f"categorical names the column {wrong[0]!r}; there are columns 0 to {n_in - 1}.")
    return [c for c in range(n_in) if c not in set(categorical)]


def table_statistics(rows: Rows, task: Task, categorical: Sequence[int] = ()) -> TableStatistics:
    """Return what a :class:`TabularMLP` has to know of the training rows; weights of rows do not count."""
    X = rows.X.reshape(len(rows), -1)
    numbers = X[:, number_columns(X.shape[1], categorical)].astype(np.float64)
    numbers = numbers[np.linspace(0, len(X) - 1, min(len(X), _MOST_BINNED)).astype(int)]
    low, center, high = np.quantile(numbers, [0.25, 0.5, 0.75], axis=0)
    half_range = np.ptp(numbers, axis=0) / 2
    scale = np.where(high > low, high - low, np.where(half_range > 0, half_range, 1.0))
    z = clipped(torch.from_numpy((numbers - center) / scale)).numpy()
    edges, inverse_widths = _bins(z)
    codes = X[:, list(categorical)]
    _check_codes(codes, categorical)
    y = rows.y.astype(np.float64) if task == "regression" else None
    std = None if y is None else y.std(axis=0)
    return TableStatistics(
        center=center,
        scale=scale,
        edges=edges,
        inverse_widths=inverse_widths,
        n_categories=tuple(int(c) + 1 for c in codes.max(axis=0, initial=-1)),
        y_mean=None if y is None else y.mean(axis=0),
        y_std=None if std is None else np.where(std > 0, std, 1.0),
    )


def _bins(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return left edges and inverse widths of the bins between different quantiles of each column."""
    n_bins = min(N_BINS, max(1, _MOST_ENCODED // max(1, z.shape[1])))
    edges, inverse_widths = np.zeros((2, z.shape[1], n_bins))
    for k, column in enumerate(z.T):
        knots = np.unique(np.quantile(column, np.linspace(0, 1, n_bins + 1)).astype(np.float32)).astype(np.float64)
        edges[k, : len(knots) - 1] = knots[:-1]
        inverse_widths[k, : len(knots) - 1] = 1 / np.diff(knots)
    return edges, inverse_widths


def _check_codes(codes: np.ndarray, categorical: Sequence[int]) -> None:
    if len(wrong := np.flatnonzero((codes != np.rint(codes)).any(axis=0) | (codes.max(axis=0, initial=0) > 1e6))):
        raise ValueError(
            f"Column {list(categorical)[wrong[0]]} is named in categorical and holds {codes[:, wrong[0]].max():g} and "
            "the like, which are no codes of categories: encode it by scikit-learn's OrdinalEncoder."
        )
