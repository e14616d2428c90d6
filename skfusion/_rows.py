"""Rows of data as they travel through ``fit``: inputs, encoded targets and weights together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal

import numpy as np

from skfusion._caller import warn_caller
from skfusion._copies import are_categories

__all__ = ["Rows"]

Task = Literal["classification", "multilabel", "regression"]
"""What the outputs are: class probabilities, label probabilities, or values."""

Inputs = np.ndarray | dict[str, np.ndarray]
"""An array, or arrays by the name of the ``forward`` argument that takes them."""

MAX_REPEATS = 10
"""Whole-number weights are repetitions while they add up to at most this many times the rows."""

_TARGET_BITS = np.uint64(24)
"""The last bits of a mark, which are those of the target."""


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
    position : ndarray of int, shape (n_samples,), optional
        Where the rows stood in the data that they were taken from; None when they are all of it, in order.
    task : {"classification", "multilabel", "regression"}, optional
        What the targets are; None where that is not known.
    """

    X: Inputs
    y: np.ndarray
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    position: np.ndarray | None = None
    task: Task | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> Rows:
        """Return some of the rows.

        Parameters
        ----------
        index : ndarray of int
            Positions.

        Returns
        -------
        Rows
            In the order of ``index``.
        """
        found = Rows(
            {k: v[index] for k, v in self.X.items()} if isinstance(self.X, dict) else self.X[index],
            self.y[index],
            None if self.weight is None else self.weight[index],
            None if self.groups is None else self.groups[index],
            np.asarray(index) if self.position is None else self.position[index],
            self.task,
        )
        for name in {"keys", "input_keys"} & vars(self).keys():
            vars(found)[name] = vars(self)[name][index]  # hashed once
        return found

    def among(self, given: Any) -> np.ndarray:
        """Tell which of the rows stood at some places of the data of ``fit``.

        Parameters
        ----------
        given : array-like of int or bool
            Positions, or a mask.

        Returns
        -------
        ndarray of int
            Positions among these rows.
        """
        given = np.asarray(given)
        given = np.flatnonzero(given) if given.dtype == bool else given
        return given if self.position is None else np.flatnonzero(np.isin(self.position, given))

    @cached_property
    def keys(self) -> np.ndarray:
        """A 64-bit hash of each row's inputs and target, shape (n_samples,), uint64."""
        return row_keys(self.X, narrowed(self.y))

    @cached_property
    def input_keys(self) -> np.ndarray:
        """A 64-bit hash of each row's inputs, shape (n_samples,), uint64."""
        return row_keys(self.X, np.zeros(len(self)))

    @cached_property
    def marks(self) -> np.ndarray:
        """What members remember of each row, uint64: 40 bits of its inputs, 24 of its target of any dtype."""
        y = narrowed(self.y[:, None] if self.y.ndim == 1 else self.y)
        y = (np.ascontiguousarray(y, np.float32) + 0).view(np.uint32)  # -0.0 + 0 is 0.0
        code = np.zeros(len(self), np.uint64)
        for column in y.T:  # Knuth's and Steele's multipliers: nearby numbers get marks far apart
            code = (code ^ column) * np.uint64(0x9E3779B97F4A7C15)
            code = (code ^ (code >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
        return self.input_keys >> _TARGET_BITS << _TARGET_BITS | code >> np.uint64(64) - _TARGET_BITS

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Tell which rows a split shall not part, so that no row is judged by what has seen a copy of it.

        Repetitions by weight are one unit, and so are rows of equal inputs, whatever their targets: were only those of
        equal targets kept together, a row would be predicted from its like with the other target. So copies stay
        together, however many there are.

        Where inputs are categories, equal rows are not copies but what new data is like, and each is a unit. That is
        where fewer than a third of the rows differ in their inputs, most of those whose inputs occur again have equals
        with other targets, as noisy labels have, and the inputs are whole numbers that fill the grid of their columns'
        values; or where there are fewer than ten inputs, and more than ten times as many rows.

        Returns
        -------
        first : ndarray of int, shape (n_units,)
            A row of each unit. Order and choice do not depend on the order of the rows.
        unit : ndarray of int, shape (n_samples,)
            The unit of each row.
        """
        place = np.arange(len(self)) if self.position is None else self.position
        code = self.input_keys
        given = self if self.position is None else self.take(np.unique(place, return_index=True)[1])
        if are_categories(given.X, given.input_keys, given.keys):
            order = np.lexsort((place, self.keys))
            new = np.r_[True, place[order][1:] != place[order][:-1]]
        else:
            order = np.lexsort((self.keys, code))
            new = np.r_[True, code[order][1:] != code[order][:-1]]
        first, unit = order[new], np.empty(len(self), np.int64)
        rank = np.argsort(np.argsort(self.keys[first], kind="stable"))
        unit[order] = rank[np.cumsum(new) - 1]
        return first[np.argsort(rank)], unit

    def expanded(self) -> Rows:
        """Return the rows with weights as repetitions, and repeated rows in one order.

        A weight of 3 and three equal rows must train the same network, bit for bit. So whole-number weights become
        repetitions, and rows of which some occur more than once are put in the order of their hashes, whatever
        order they came in. Rows without weights and repetitions, which is ordinary data, come back as they are.
        Weights that are not whole numbers, or add up to more than ``MAX_REPEATS`` times the rows, stay weights, scaled
        to mean 1.

        Returns
        -------
        Rows
            These, or others that stand for them.
        """
        index, weight = expansion(self.keys, self.weight)
        if index is None:
            return self
        rows = self.take(index)
        return replace(rows, weight=weight)

    def seen(self, marks: np.ndarray, inputs: bool = False) -> np.ndarray:
        """Tell which of the rows are among others.

        Parameters
        ----------
        marks : ndarray of uint64
            The others, by :attr:`marks`, or by :attr:`keys` as older pools have them.
        inputs : bool, default=False
            Whether a row that has the inputs of another one, and another target, is among them too.

        Returns
        -------
        ndarray of bool, shape (n_samples,)
            Which are.
        """
        found = np.isin(self.marks, marks) | np.isin(self.keys, marks)
        return found | np.isin(inputs_of(self.marks), inputs_of(marks)) if inputs else found


def expansion(keys: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the positions and weights that stand for weighted rows, given their hashes; see :meth:`Rows.expanded`.

    Both are None where the rows can stay as they are, the weights also where all count alike.
    """
    given, rest = repetitions(weight)
    index = np.arange(len(keys)) if given is None else given
    if len(np.unique(keys[index])) < len(index):
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


def row_keys(X: Inputs, y: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each row, shape (n_samples,), uint64; equal rows have equal hashes."""
    parts = [*(X[k] for k in sorted(X))] if isinstance(X, dict) else [X]
    blocks = [np.ascontiguousarray(np.asarray(p) + 0).reshape(len(p), -1) for p in [*parts, y]]  # -0.0 + 0 is 0.0
    return np.array([key_of(*(block[i].data for block in blocks)) for i in range(len(y))], np.uint64)


def narrowed(y: np.ndarray) -> np.ndarray:
    """Return targets in the precision of networks, by which rows are known again wherever they come from."""
    with np.errstate(over="ignore"):
        return y.astype(np.float32) if y.dtype == np.float64 else y


def key_of(*parts: bytes | memoryview) -> int:
    """Return a 64-bit hash of some bytes, the same in every process."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")


def warn_of_unlabelled(classes: np.ndarray, codes: np.ndarray) -> None:
    """Warn that -1 is a class like any other, where it looks as if it marked rows without labels.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The labels in y. There is no warning where -1 stands beside one other number or a negative one, as classes are
        often called -1 and 1; nor where they are -1, 0 and 1, unless at least half of the rows have -1.
    codes : ndarray of shape (n_samples,)
        The class of each row.
    """
    others = classes[classes != -1] if classes.dtype.kind in "if" else classes
    if len(others) == len(classes) or len(others) < 2 or (others < 0).any():
        return
    if others.tolist() == [0, 1] and 2 * (codes == np.flatnonzero(classes == -1)[0]).sum() < len(codes):
        return
    warn_caller(
        f"y has -1 beside the classes {others.tolist()}, and it is taken for a class of its own. If it marks rows "
        "without labels, leave them out, or learn from them: for TemporalEnsemblingClassifier and PiModelClassifier -1 "
        "is no label, and DistillClassifier takes such rows as X_unlabelled. If it is a class, give it another number."
    )
