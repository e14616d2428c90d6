"""The driver of networks that learn from labels and from rows that have none: read labels, train, and judge."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import column_or_1d

from skfusion._rows import Inputs, Rows
from skfusion.data import check_inputs, check_weight, encode_classes, positive
from skfusion.estimators._targets import Classifies
from skfusion.estimators.students._one_network import OneNetwork
from skfusion.estimators.support._outputs import Outputs

_IN_OBJECTS = (
    "give y as an array of objects, such as np.array(['red', -1], dtype=object), or labels as whole numbers, which "
    "cross-validation stratifies"
)


class SemiSupervised(Classifies, OneNetwork):
    """Train a network on labels and on its own consistency; subclasses name the parameters."""

    @abstractmethod
    def _consistency(self, **common: Any) -> Any:
        """Return what is asked of a network besides the labels."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SemiSupervised:
        """Train the network on labelled and unlabelled rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs. A dict names the arguments of the module's ``forward``.
        y : array-like of shape (n_samples,)
            Labels; -1 means that a row has none, unless the net has -1 among its ``classes``. Labels that are strings
            go into an array of objects with -1 among them, which scikit-learn does not stratify: to cross-validate,
            give whole numbers for them, or ``cv=StratifiedKFold(3).split(X, codes)`` with these. Rows whose label is
            missing (NaN or None) are marked by -1 too: ``y.astype(object).fillna(-1)``.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights. Whole numbers are repetitions of the row.

        Returns
        -------
        SemiSupervised
            The fitted estimator.

        Raises
        ------
        ValueError
            If all labels are of one class, and the net does not name its classes, such as
            ``mlp_classifier(classes=[0, 1])``.

        Warns
        -----
        UserWarning
            If all labels are -1 or 1, and the net does not name its classes: they are taken for two classes then.
        """
        self._check()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows, labelled = self._half_labelled(X, y, sample_weight)
        # a row with a label is no repetition of one without
        rows = replace(rows, position=None, y=np.column_stack([rows.y, labelled])).expanded()
        rows, labelled = replace(rows, y=rows.y[:, 0]), rows.y[:, 1].astype(bool)
        net = self._sized(rows)
        if net.train_split is not None and not labelled.all():
            raise ValueError(
                f"The net validates on a part of the rows, and {(~labelled).sum()} of {len(labelled)} have no label: "
                "give it train_split=None."
            )
        consistency = self._consistency(
            labelled=labelled,
            max_weight=float(self.max_weight),
            n_ramp=float(self.ramp_up) * net.max_epochs,
            noise=_spread(rows.X, rows.weight, float(self.noise)),
            row_weight=rows.weight,
        )
        self._train(rows, seed, consistency, lambda _epoch, _net: consistency.end_epoch())
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on the rows that have a label.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs, as in ``fit``.
        y : array-like of shape (n_samples,)
            Labels. Rows of -1 do not count, unless -1 is a class.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights.

        Returns
        -------
        float
            Share of the labelled rows whose class is predicted right.
        """
        predicted, y = self.predict(X), _read(y, self.classes_)
        kept, weight = _has_label(y, self.classes_), check_weight(sample_weight, len(y))
        if weight is not None:
            kept &= weight > 0
        if not kept.any():
            raise ValueError(f"No row has a label to judge by: y is -1 in all {len(y)} rows that count.")
        return float(accuracy_score(_plain(y[kept]), predicted[kept], sample_weight=_at(weight, kept)))

    def labelled(self, y: Any) -> np.ndarray:
        """Tell which rows have a label.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels, as in ``fit``.

        Returns
        -------
        ndarray of bool, shape (n_samples,)
            False where the label is -1, unless -1 is among the classes of the net.
        """
        named = getattr(self.estimator, "classes", None)
        return _has_label(_read(y, named), named)

    def _check(self) -> None:
        for name in ("max_weight", "ramp_up", "noise"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a number of at least 0; got {value!r}.")

    def _half_labelled(self, X: Any, y: Any, sample_weight: Any) -> tuple[Rows, np.ndarray]:
        """Return rows, with code 0 where there is no label, and which of them have one."""
        named = getattr(self.estimator, "classes", None)
        _complete(y)
        X, y = check_inputs(self, X, y, reset=True)
        y = _read(y, named)
        weight = check_weight(sample_weight, len(y))
        used = np.ones(len(y), bool) if weight is None else weight > 0
        labelled = _has_label(y, named)
        if not (labelled & used).any():
            raise ValueError("No row has a label: y is -1 everywhere. Label some rows of each class.")
        if named is None and not labelled[used].all() and _two_signs(y[labelled & used]):
            labelled[:] = True
        codes = np.zeros(len(y), np.int64)
        codes[labelled], columns, self._task = encode_classes(_plain(y[labelled]), _at(weight, labelled), named)
        self._outputs, self.classes_ = Outputs.of_classes(columns), np.sort(columns)
        rows = positive(Rows(X, codes, weight, task=self._task))
        return rows, labelled if rows.position is None else labelled[rows.position]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


def _complete(y: Any) -> None:
    missing = int(np.sum(np.asarray(pd.isna(y))))
    if y is not None and missing:
        raise ValueError(
            f"y contains NaN or None in {missing} rows. Rows without a label are marked by the number -1: give "
            "y.astype(object).fillna(-1) of a Series y."
        )


def _read(y: Any, classes: Any) -> np.ndarray:
    """Return labels, shape (n_samples,); a string '-1' may only be a class that is named."""
    y = column_or_1d(y, warn=True)
    texts = y.dtype.kind in "USO" and np.any(y == ("-1" if y.dtype.kind != "S" else b"-1"))
    if texts and "-1" not in ([] if classes is None else [*classes]):
        raise ValueError(f"y has the string '-1'. Unlabelled rows are marked by the number -1: {_IN_OBJECTS}.")
    return y


def _has_label(y: np.ndarray, classes: Any) -> np.ndarray:
    """Return which rows have a label: all, where -1 is among the classes."""
    if y.dtype.kind in "US" or (classes is not None and -1 in [*classes]):
        return np.ones(len(y), bool)
    return np.array(y != -1, bool)


def _at(weight: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if weight is None else weight[rows]


def _plain(y: np.ndarray) -> np.ndarray:
    return np.array(y.tolist()) if y.dtype.kind == "O" else y


def _two_signs(y: np.ndarray) -> bool:
    """Return whether -1 is a class beside the only label, and raise where that label alone cannot be learned."""
    labels = {*y.tolist()}
    if len(labels) > 1:
        return False
    if labels == {1}:
        warnings.warn(
            "All labels are -1 or 1, which are taken for two classes. If -1 means that a row has no label, give the "
            "net its classes, such as mlp_classifier(classes=[0, 1]), or label rows of another class.",
            UserWarning,
            stacklevel=4,
        )
        return True
    raise ValueError(
        f"All labelled rows are of the class {labels.pop()!r}, and -1 means that a row has no label: label rows of "
        "other classes too, or give the net all its classes, such as mlp_classifier(classes=[0, 1])."
    )


def _spread(X: Inputs, weight: np.ndarray | None, noise: float) -> Inputs:
    """Return the standard deviation of the inputs times ``noise``, of the shape of a sample."""
    if isinstance(X, dict):
        return {name: _spread(values, weight, noise) for name, values in X.items()}
    if weight is None:
        return noise * X.std(axis=0)
    centred = X - np.average(X, axis=0, weights=weight)
    return noise * np.sqrt(np.average(centred**2, axis=0, weights=weight))
