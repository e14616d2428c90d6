"""One trained network, or another fitted estimator, as a value, and the marks of the rows that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skfusion import state as states_of
from skfusion._numbers import to_numpy, to_torch
from skfusion._rows import Inputs, Rows
from skfusion.pool._member_html import ShownAsHtml
from skfusion.state import State


@dataclass(frozen=True, eq=False)
class Deferred:
    """A value that is read from where it is kept when it is first asked for.

    Parameters
    ----------
    read : callable
        Takes nothing, and returns the value.
    """

    read: Callable[[], Any]


_MAY_BE_DEFERRED = "state", "rows", "predictions", "estimator"
_FIELDS = "name", "state", "score", "meta", "rows", "net", "predictions", "estimator"


class Member(ShownAsHtml):
    """One trained network, or another fitted estimator, and what is known about it.

    Parameters
    ----------
    name : str
        Unique in its pool.
    state : State, optional
        Parameters and buffers of a network by name; a member has these, or an estimator.
    score : float, default=nan
        Held-out score, higher is better; NaN when unknown.
    meta : dict, optional
        What else is known: seed, epoch, history. Must be writable as JSON.
    rows : ndarray of shape (n_rows,), optional
        64-bit marks of the training rows, see :attr:`skfusion._rows.Rows.marks`; None when unknown.
    net : object, optional
        The unfitted net that the state belongs to; kept in memory only, never in a file.
    predictions : ndarray of shape (n_held_out, n_outputs), optional
        Probabilities or values for the held-out rows, where there were some.
    estimator : object, optional
        A fitted estimator with ``predict``, in the place of a state: ensembles and stacks use it, and what needs
        weights refuses it.

    Notes
    -----
    A member is immutable. State, rows, predictions and estimator may be given as :class:`Deferred`, which is read when
    they are first asked for: what is in a directory is read only where it is used.
    """

    name: str
    score: float
    meta: Mapping[str, Any]
    net: Any

    def __init__(
        self,
        name: str,
        state: State | Deferred | None = None,
        score: float = math.nan,
        meta: Mapping[str, Any] | None = None,
        rows: np.ndarray | Deferred | None = None,
        net: Any = None,
        predictions: np.ndarray | Deferred | None = None,
        estimator: Any = None,
    ):
        if (state is None) == (estimator is None):
            given = "neither" if state is None else "both"
            raise ValueError(f"Member {name!r} needs the state of a network, or a fitted estimator; got {given}.")
        about = {"name": name, "score": score, "meta": {} if meta is None else meta, "net": net}
        vars(self).update(about, _state=state, _rows=rows, _predictions=predictions, _estimator=estimator)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A Member is immutable: make another one by replace({name}=...).")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A Member is immutable: {name!r} cannot be deleted.")

    @property
    def is_network(self) -> bool:
        """Whether it has weights, and is no estimator of another kind."""
        return self._kept("state") is not None

    @property
    def state(self) -> State:
        """Parameters and buffers by name; ``TypeError`` where the member is no network."""
        state: State | None = self._read("state")
        if state is None:
            raise TypeError(
                f"Member {self.name!r} is a fitted {type(self.estimator).__name__}, which has no weights to merge, "
                "align or average. Leave it out, or combine predictions by EnsembleClassifier or EnsembleRegressor."
            )
        return state

    @property
    def rows(self) -> np.ndarray | None:
        """64-bit marks of the training rows; None when unknown."""
        rows: np.ndarray | None = self._read("rows")
        return rows

    @property
    def predictions(self) -> np.ndarray | None:
        """Probabilities or values for held-out rows; None where there are none."""
        predictions: np.ndarray | None = self._read("predictions")
        return predictions

    @property
    def estimator(self) -> Any:
        """The fitted estimator; None where the member is a network."""
        return self._read("estimator")

    def deferred(self, name: str) -> Deferred | None:
        """Return what reads a field that has not been read yet; None where its value is known.

        Parameters
        ----------
        name : str
            Of a field.

        Returns
        -------
        Deferred or None
            As it was given.
        """
        value = self._kept(name)
        return value if isinstance(value, Deferred) else None

    def _kept(self, name: str) -> Any:
        return vars(self)["_" + name]

    def _read(self, name: str) -> Any:
        """Return a value, which is read where it has not been yet."""
        value = self._kept(name)
        if isinstance(value, Deferred):
            value = value.read()
            vars(self)["_" + name] = value
        return value

    def __repr__(self) -> str:
        score = "" if math.isnan(self.score) else f", score={self.score:.4g}"
        if any(isinstance(self._kept(part), Deferred) for part in ("state", "estimator")):
            return f"Member({self.name!r}{score})"
        what = f"{states_of.n_parameters(self.state)} numbers" if self.is_network else type(self.estimator).__name__
        return f"Member({self.name!r}, {what}{score})"

    def replace(self, **changes: Any) -> Member:
        """Return a copy with some fields changed.

        Parameters
        ----------
        **changes : dict
            New values by field.

        Returns
        -------
        Member
            The copy.
        """
        kept = {f: self._kept(f) if f in _MAY_BE_DEFERRED else getattr(self, f) for f in _FIELDS}
        return Member(**{**kept, **changes})

    def __getstate__(self) -> dict[str, Any]:
        fields = {f: getattr(self, f) for f in _FIELDS if f != "state"}
        return {**fields, "state": to_numpy(self.state) if self.is_network else None}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        state = stored.get("state")
        fields = {**stored, "state": None if state is None else to_torch(state)}
        fields.setdefault("estimator", None)
        vars(self).update({f"_{f}" if f in _MAY_BE_DEFERRED else f: fields[f] for f in _FIELDS})


def rows_of(X: Any, y: Any, classes: np.ndarray | None) -> np.ndarray | None:
    """Return the hashes that training on X and y would have recorded."""
    if X is None and y is None:
        return None
    if X is None or y is None:
        raise ValueError("Give both X and y, or neither: a row is known by its inputs and its target.")
    inputs: Inputs
    if isinstance(X, dict):
        inputs = {key: _as_input(np.asarray(value)) for key, value in X.items()}
    else:
        inputs = np.ascontiguousarray(X, dtype=np.float32)
    target = np.asarray(y)
    lengths = {len(target), *map(len, inputs.values() if isinstance(inputs, dict) else [inputs])}
    if len(lengths) > 1:
        raise ValueError(f"X and y have different numbers of rows: {sorted(lengths)}.")
    if classes is None or (target.ndim > 1 and target.shape[1] > 1):
        if target.dtype.kind not in "biuf":  # of a net that was not fitted, which names no classes: their codes
            target = np.unique(target, return_inverse=True)[1].reshape(target.shape)
        return Rows(inputs, target.astype(np.float32)).marks
    target = target.reshape(-1)
    order = np.argsort(classes, kind="stable")
    codes = order[np.searchsorted(classes, target, sorter=order).clip(max=len(classes) - 1)].astype(np.int64)
    if (unknown := classes[codes] != target).any():
        raise ValueError(
            f"y has labels that the nets do not know: {np.unique(target[unknown])[:5].tolist()}; their classes are "
            f"{classes.tolist()}. Give the y that the nets were fitted with."
        )
    return Rows(inputs, codes).marks


def _as_input(value: np.ndarray) -> np.ndarray:
    dtype = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.int64}.get(value.dtype.kind, value.dtype)
    return np.ascontiguousarray(value, dtype=dtype)
