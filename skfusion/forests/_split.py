"""A validation split of a net that is drawn once."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from torch.utils.data import Dataset, Subset

from skfusion import nets
from skfusion._rows import Rows


class KeptSplit:
    """A ``train_split`` that divides rows as another one did; None stands for all rows, a dataset for other data."""

    keeps_units = True  # as it divides them

    def __init__(self, train: np.ndarray | None, valid: np.ndarray | Dataset[Any] | None):
        self.train, self.valid = train, valid

    def __call__(self, dataset: Any, y: Any = None, **_: Any) -> tuple[Any, Any]:
        """Return the data to train on, and the data that is held out."""
        valid = Subset(dataset, self.valid) if isinstance(self.valid, np.ndarray) else self.valid
        return (dataset if self.train is None else Subset(dataset, self.train)), valid


def kept_split(net: Any, rows: Rows) -> tuple[KeptSplit | None, np.ndarray | None]:
    """Return a ``train_split`` that divides the rows in the same way each time, and the positions that it trains on.

    The split is None where the net has none, and the positions are None for all rows. The net is sized to the data; its
    own ``train_split`` may draw from the global generators.
    """
    net = clone(net)
    net.train_split = nets.unit_split(net.train_split, rows)
    dataset = net.get_dataset(rows.X, rows.y)
    net.get_dataset = lambda X, y=None: dataset
    train, valid = net.get_split_datasets(rows.X, rows.y)
    positions, source = _within(train)
    if source is not dataset:
        raise ValueError(
            f"The net trains on {train!r}, which is no part of the data of fit, so that the leaves cannot be fitted on "
            "it. Let its train_split return torch.utils.data.Subset(dataset, positions), as skorch's ValidSplit does."
        )
    if valid is None and positions is None:
        return None, None
    held_out, source = _within(valid)
    return KeptSplit(positions, held_out if source is dataset and held_out is not None else valid), positions


def _within(part: Any) -> tuple[np.ndarray | None, Any]:
    """Return positions in the data that a part was taken from, None where it is all of it, and that data."""
    positions = None
    while isinstance(part, Subset):
        indices = np.asarray(part.indices)
        positions, part = indices if positions is None else indices[positions], part.dataset
    return positions, part
