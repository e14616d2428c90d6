"""Rows of data as they travel through ``fit``: inputs, encoded targets and weights together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal

import numpy as np

Task = Literal["classification", "multilabel", "regression"]
"""What the outputs are: class probabilities, label probabilities, or values."""

Inputs = np.ndarray | dict[str, np.ndarray]
"""An array, or arrays by the name of the ``forward`` argument that takes them."""

MAX_REPEATS = 10
"""Whole-number weights are repetitions while they add up to at most this many times the rows."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs, targets and weights of the same samples.

    Parameters
    ----------
    X : ndarray or dict of ndarray
        Inputs; the first axis counts samples.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Encoded targets: class codes, indicators, or values.
    weight : ndarray of shape (n_samples,), optional
        Positive sample weights; None means that all rows count alike.
    groups : ndarray of shape (n_samples,), optional
        Rows of a group stay together when the data is split.
    """

    X: Inputs
    y: np.ndarray
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> Rows:
        """Return the rows at ``index``, in its order."""
        return Rows(
            {k: v[index] for k, v in self.X.items()} if isinstance(self.X, dict) else self.X[index],
            self.y[index],
            None if self.weight is None else self.weight[index],
            None if self.groups is None else self.groups[index],
        )

    @cached_property
    def keys(self) -> np.ndarray:
        """A 64-bit hash of each row's inputs and target, shape (n_samples,), uint64."""
        return row_keys(self.X, self.y)

    def expanded(self) -> Rows:
        """Return the rows with weights as repetitions, and repeated rows in one order.

        A weight of 3 and three equal rows must train the same network, bit for bit. So whole-number weights become
        repetitions, and rows of which some occur more than once are put in the order of their hashes, whatever
        order they came in. Rows without weights and repetitions, which is ordinary data, come back as they are.
        Weights that are not whole numbers, or add up to more than ``MAX_REPEATS`` times the rows, stay weights, scaled
        to mean 1.
        """
        rows, weight = self, self.weight
        if weight is not None:
            rows = self.take(np.flatnonzero(weight > 0))
            weight = rows.weight
        whole = weight is None or bool(np.all(weight == np.rint(weight)) and weight.sum() <= MAX_REPEATS * len(weight))
        counts = weight.astype(np.int64) if whole and weight is not None else np.ones(len(rows), np.int64)
        if weight is not None and not whole:
            rows = Rows(rows.X, rows.y, weight / weight.mean(), rows.groups)
        elif rows.weight is not None:
            rows = Rows(rows.X, rows.y, None, rows.groups)
        if (counts == 1).all() and len(np.unique(rows.keys)) == len(rows):
            return rows
        index = np.repeat(np.arange(len(rows)), counts)
        return rows.take(index[np.argsort(rows.keys[index], kind="stable")])

    def overlap(self, seen: np.ndarray) -> int:
        """Return how many of these rows have their hash in ``seen``."""
        return int(np.isin(self.keys, seen).sum())


def unlabelled(X: Inputs) -> Rows:
    """Return rows of inputs alone; their targets are zeros."""
    n = len(next(iter(X.values())) if isinstance(X, dict) else X)
    return Rows(X, np.zeros(n))


def row_keys(X: Inputs, y: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each row, shape (n_samples,), uint64; equal rows have equal hashes."""
    parts = [*(X[k] for k in sorted(X))] if isinstance(X, dict) else [X]
    blocks = [np.ascontiguousarray(np.asarray(p) + 0).reshape(len(p), -1) for p in [*parts, y]]  # -0.0 + 0 is 0.0
    keys = np.empty(len(y), np.uint64)
    for i in range(len(y)):
        digest = blake2b(digest_size=8)
        for block in blocks:
            digest.update(block[i].data)
        keys[i] = int.from_bytes(digest.digest(), "little")
    return keys
