"""Rows of data as they travel through ``fit``: inputs, encoded targets, weights and groups together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal

import numpy as np

from skfusion._keys import distinct, is_among

__all__ = ["Rows"]

Task = Literal["classification", "multilabel", "regression"]
"""What the outputs are: class probabilities, label probabilities, or values."""

Inputs = np.ndarray | dict[str, np.ndarray]
"""An array, or arrays by the name of the ``forward`` argument that takes them."""

MAX_REPEATS = 10
"""Whole-number weights are repetitions while they add up to at most this many times the rows."""

_KEY = 8
"""Bytes of a hash of a row."""

_BLOCK = 2**24
"""Bytes of rows that are put side by side at a time, to be hashed."""

_TARGET_BITS = np.uint64(24)
"""The last bits of a mark, which are those of the target."""

_FEW_INPUTS = 10
"""Fewer different inputs than these, each of them many times, are the cases of a table and no copies."""

_MANY_TIMES = 10
"""How often each of few inputs occurs, on average, at least."""

_FULL = 10
"""Where columns are categories: combinations of their values for each one that occurs, at most."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs, targets and weights of the same samples, along the first axis of each."""

    X: Any  # arrays for networks; other estimators, in stacks and comparisons, get the inputs as the user gave them
    y: np.ndarray  # class codes, indicators or values; shape: (n_samples,) or (n_samples, n_outputs)
    weight: np.ndarray | None = None  # positive; None means that all rows count alike
    groups: np.ndarray | None = None  # rows of a group stay together when the data is split
    position: np.ndarray | None = None  # where the rows stood in the data of the fit; None when they are all of it
    task: Task | None = None  # what the targets are; None where that is not known
    columns: np.ndarray | None = None  # numbers to compare rows by whose inputs are none, as data.columns_of gives them
    class_weight: np.ndarray | None = None  # what a row of each class counts for in losses; shape: (n_classes,)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def loss_weight(self) -> np.ndarray | None:
        """The weights of rows in losses, which are also those of their classes; None where all rows count alike.

        They are no repetitions, and neither scores nor statistics know them.
        """
        if self.class_weight is None:
            return self.weight
        by_class: np.ndarray = self.class_weight[self.y]
        return by_class if self.weight is None else self.weight * by_class

    def take(self, index: np.ndarray) -> Rows:
        """Return the rows at some positions, in the order of these."""
        arrays = {name: getattr(self, name) for name in ("y", "weight", "groups", "position", "columns")}
        taken: dict[str, Any] = {name: None if array is None else array[index] for name, array in arrays.items()}
        if self.position is None:
            taken["position"] = np.asarray(index)
        rows = replace(self, X=rows_at(self.X, index), **taken)
        for name in {"keys", "input_keys"} & vars(self).keys():
            vars(rows)[name] = vars(self)[name][index]  # hashed once
        return rows

    def with_targets(self, y: np.ndarray) -> Rows:
        """Return the rows with the targets as the user gave them, which are equal where the encoded ones are."""
        rows = replace(self, y=y)
        vars(rows)["keys"] = self.keys
        return rows

    def among(self, places: Any) -> np.ndarray:
        """Return the positions of the rows that stood at some places (or in a mask) of the data of ``fit``."""
        places = np.asarray(places)
        places = np.flatnonzero(places) if places.dtype == bool else places
        return places if self.position is None else np.flatnonzero(np.isin(self.position, places))

    @property
    def _compared(self) -> Inputs:
        return self.X if self.columns is None else self.columns

    @cached_property
    def keys(self) -> np.ndarray:
        """A 64-bit hash of each row's inputs and target, shape (n_samples,), uint64."""
        return row_keys(self._compared, _narrowed(self.y))

    @cached_property
    def input_keys(self) -> np.ndarray:
        """A 64-bit hash of each row's inputs, shape (n_samples,), uint64."""
        return row_keys(self._compared, np.zeros(len(self)))

    @cached_property
    def marks(self) -> np.ndarray:
        """What members remember of each row, uint64: 40 bits of its inputs, 24 of its target of any dtype."""
        y = _narrowed(self.y[:, None] if self.y.ndim == 1 else self.y)
        y = (np.ascontiguousarray(y, np.float32) + 0).view(np.uint32)  # -0.0 + 0 is 0.0
        code = np.zeros(len(self), np.uint64)
        for column in y.T:  # Knuth's and Steele's multipliers: nearby numbers get marks far apart
            code = (code ^ column) * np.uint64(0x9E3779B97F4A7C15)
            code = (code ^ (code >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
        return self.input_keys >> _TARGET_BITS << _TARGET_BITS | code >> np.uint64(64) - _TARGET_BITS

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that a split must keep together, so that no row is judged by a model fitted on a copy of it.

        Repetitions by weight are one unit, and so are rows of equal inputs, whatever their targets: were only those of
        equal targets kept together, a row would be predicted from its copy with the other target. So copies stay
        together, however many there are.

        Where inputs are categories, equal rows are not copies but what new data is like, and each is a unit. That is
        where fewer than a third of the rows differ in their inputs, most of those whose inputs occur again have equals
        with other targets, as noisy labels have, and the inputs are whole numbers that fill the grid of their columns'
        values; or where there are fewer than ten different inputs, and more than ten times as many rows.

        The first array, of shape (n_units,), has a row of each unit; its order and choice do not depend on the order of
        the rows. The second one, of shape (n_samples,), has the unit of each row.
        """
        return self._units

    @cached_property
    def _units(self) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`units` returns, once for all members that are trained on the rows."""
        place = np.arange(len(self)) if self.position is None else self.position
        code = self.input_keys
        once = self if self.position is None else self.take(np.unique(place, return_index=True)[1])
        if _are_categories(once._compared, once.input_keys, once.keys):
            order = np.lexsort((place, self.keys))
            new = np.r_[True, place[order][1:] != place[order][:-1]]
        else:
            order = np.lexsort((self.keys, code))
            new = np.r_[True, code[order][1:] != code[order][:-1]]
        first, unit = order[new], np.empty(len(self), np.int64)
        rank = np.argsort(np.argsort(self.keys[first], kind="stable"))
        unit[order] = rank[np.cumsum(new) - 1]
        first = first[np.argsort(rank)]
        first.flags.writeable = unit.flags.writeable = False
        return first, unit

    def expanded(self) -> Rows:
        """Return the rows with weights as repetitions, and repeated rows in one order.

        A weight of 3 and three equal rows must train the same network, bit for bit. So whole-number weights become
        repetitions, and rows of which some occur more than once are put in the order of their hashes, whatever
        order they came in. Rows without weights and repetitions, which is ordinary data, come back as they are.
        Weights that are not whole numbers, or add up to more than ``MAX_REPEATS`` times the rows, stay weights, scaled
        to mean 1.
        """
        index, weight = expansion(self.keys, self.weight)
        return self if index is None else replace(self.take(index), weight=weight)

    def repeated(self) -> Rows:
        """Return the rows with whole-number weights as repetitions, in the order in which they came.

        Estimators of other libraries may depend on the order; networks get the one of :meth:`expanded`.
        """
        index, weight = repetitions(self.weight)
        return self if index is None else replace(self.take(index), weight=weight)

    def seen(self, marks: np.ndarray, inputs: bool = False) -> np.ndarray:
        """Return which of the rows are among others, of which :attr:`marks` (in older pools :attr:`keys`) are known.

        With ``inputs``, a row that has the inputs of another one, and another target, is among them too.
        """
        seen: np.ndarray = is_among(self.marks, marks) | is_among(self.keys, marks)
        if inputs:
            seen |= is_among(inputs_of(self.marks), inputs_of(marks))
        return seen


def expansion(keys: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the positions and weights that stand for weighted rows, given their hashes; see :meth:`Rows.expanded`.

    Both are None where the rows can stay as they are, the weights also where all count alike.
    """
    repeated, rest = repetitions(weight)
    index = np.arange(len(keys)) if repeated is None else repeated
    if len(distinct(keys[index])) < len(index):
        order = np.argsort(keys[index], kind="stable")
        index, rest = index[order], None if rest is None else rest[order]
    elif weight is None:
        return None, None
    return index, rest


def repetitions(weight: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the positions and weights that stand for weighted rows, in the order in which the rows came.

    Whole numbers become repetitions, side by side, up to ``MAX_REPEATS`` times the rows; other weights get mean 1. The
    positions are None where there are no weights, the weights also where all count alike.
    """
    if weight is None:
        return None, None
    index = np.flatnonzero(weight > 0)
    kept = weight[index]
    if np.all(kept == np.rint(kept)) and kept.sum() <= MAX_REPEATS * len(kept):
        return np.repeat(index, kept.astype(np.int64)), None
    return index, kept / kept.mean()


def inputs_of(marks: np.ndarray) -> np.ndarray:
    """Return the part of :attr:`Rows.marks` that is the same for all rows of equal inputs."""
    return marks >> _TARGET_BITS


def unlabelled(X: Inputs) -> Rows:
    """Return rows of inputs alone; their targets are zeros."""
    return Rows(X, np.zeros(len(one_of(X))))


def one_of(X: Any) -> Any:
    """Return the array of inputs, or one of those in a dict."""
    return next(iter(X.values())) if isinstance(X, Mapping) else X


def n_rows_of(X: Any) -> int:
    """Return how many rows inputs have: an array, frame, sparse array or list, or a dict of them."""
    first = one_of(X)
    return int(first.shape[0]) if hasattr(first, "shape") else len(first)


def rows_at(X: Any, index: np.ndarray) -> Any:
    """Return the rows at some positions of an array, frame, sparse array or list, or of a dict of them."""
    if isinstance(X, Mapping):
        return {name: rows_at(values, index) for name, values in X.items()}
    if hasattr(X, "iloc"):
        return X.iloc[index]
    return (X if hasattr(X, "shape") else np.asarray(X))[index]


def row_keys(X: Inputs, y: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each row, shape (n_samples,), uint64; equal rows have equal hashes."""
    parts = [np.asarray(p) for p in (*((X[k] for k in sorted(X)) if isinstance(X, dict) else [X]), y)]
    digests: list[bytes] = []
    per_row = sum(p[:1].nbytes for p in parts)
    step = max(1, _BLOCK // max(1, per_row))
    for start in range(0, len(y), step):
        blocks = [np.ascontiguousarray(p[start : start + step] + 0) for p in parts]  # -0.0 + 0 is 0.0
        rows = np.concatenate([block.reshape(len(block), -1).view(np.uint8) for block in blocks], axis=1)
        size, data = rows.shape[1], rows.tobytes()
        # What key_of returns for the parts of each row: this loop is most of the time of a short training.
        digests += [blake2b(data[i : i + size], digest_size=_KEY).digest() for i in range(0, len(data), size)]
    return np.frombuffer(b"".join(digests), f"<u{_KEY}").astype(np.uint64)


def key_of(*parts: bytes | memoryview) -> int:
    """Return a 64-bit hash of some bytes, the same in every process."""
    digest = blake2b(digest_size=_KEY)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")


def _narrowed(y: np.ndarray) -> np.ndarray:
    """Return targets in the precision of networks, by which rows are recognised wherever they come from."""
    with np.errstate(over="ignore"):
        return y.astype(np.float32) if y.dtype == np.float64 else y


def _are_categories(X: Inputs, input_keys: np.ndarray, keys: np.ndarray) -> bool:
    """Return whether equal inputs are categories and not copies, by the rule of :meth:`Rows.units`.

    Repeated measurements with noise in their targets differ from categories in that their values do not fill a grid.
    Columns of dtype uint64 are hashes, which are no categories.
    """
    _, first, group, size = np.unique(input_keys, return_index=True, return_inverse=True, return_counts=True)
    if len(size) < _FEW_INPUTS and len(size) * _MANY_TIMES < len(keys):
        return True
    if len(size) * 3 >= len(keys):
        return False
    n_targets = np.bincount(group[np.unique(keys, return_index=True)[1]])
    if 2 * size[n_targets > 1].sum() <= size[size > 1].sum():
        return False
    n_cells = 1
    for part in X.values() if isinstance(X, Mapping) else [X]:
        if part.dtype == np.uint64:
            return False
        for column in part.reshape(len(part), -1).T:
            values = np.unique(column[first])
            n_cells *= len(values)
            if n_cells > _FULL * len(first) or (values != np.rint(values)).any():
                return False
    return True
