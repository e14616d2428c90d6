"""The input stage that networks for tables share: what they know of the columns, and how they prepare a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._vectorized import bin_shares, encoded
from skfusion.nets._table_statistics import TableStatistics, clipped, number_columns


class TableInputs(nn.Module):
    """The base of networks for tables: buffers of the columns and the targets, and embeddings of categories.

    The parameters are those of :class:`TabularMLP`.
    """

    def __init__(self, n_in: int, n_out: int, table: TableStatistics, categorical: Sequence[int], d_embedding: int):
        super().__init__()
        self.numbers, self.categories = number_columns(n_in, categorical), list(categorical)
        if (len(self.numbers), len(self.categories)) != (len(table.center), len(table.n_categories)):
            raise ValueError(
                f"The table has {len(table.center)} numbers and {len(table.n_categories)} categories a row, and the "
                f"net was given n_in={n_in} with {len(self.categories)} categorical columns; leave n_in and table out."
            )
        n_codes = np.asarray(table.n_categories, np.int64)
        buffers = {
            "center": table.center,
            "scale": table.scale,
            "edges": table.edges,
            "inverse_widths": table.inverse_widths,
            "y_mean": np.zeros(n_out) if table.y_mean is None else table.y_mean,
            "y_std": np.ones(n_out) if table.y_std is None else table.y_std,
        }
        for name, value in buffers.items():
            self.register_buffer(name, torch.as_tensor(np.asarray(value, np.float32)))
        self.register_buffer("n_codes", torch.as_tensor(n_codes))
        # The first row of each column is for codes that are unknown.
        self.register_buffer("first_rows", torch.as_tensor(np.cumsum(n_codes + 1) - n_codes - 1))
        self.embedding = nn.Embedding(int((n_codes + 1).sum()), d_embedding) if self.categories else None
        self.n_inputs = len(self.numbers) + d_embedding * len(self.categories)

    def _prepared(self, X: Tensor) -> tuple[Tensor, Tensor | None]:  # X shape: (n_samples, ...)
        """Return the scaled numbers, shape (n_samples, n_numbers), and the embedded categories.

        These have the shape (n_samples, n_categorical, d_embedding); None where there are none.
        """
        X = X.reshape(X.shape[0], -1)
        if self.embedding is None:
            return clipped((X - self.center) / self.scale), None
        z = clipped((X[:, self.numbers] - self.center) / self.scale)
        codes = X[:, self.categories].long()
        known = (codes >= 0) & (codes < self.n_codes)
        return z, self.embedding((codes + 1) * known + self.first_rows)

    def _encoded(self, z: Tensor) -> Tensor:  # z shape: (n_samples, n_numbers)
        """Return the share of each bin that lies below the numbers, shape (n_samples, n_numbers * n_bins)."""
        return encoded(z, self.edges, self.inverse_widths)

    def _shares(self, z: Tensor, columns: slice = slice(None)) -> Tensor:  # z shape: (n_samples, n_numbers)
        """Return the share of each bin that lies below the numbers of some columns, (n_samples, n_columns, n_bins)."""
        return bin_shares(z[:, columns], self.edges[columns], self.inverse_widths[columns])
