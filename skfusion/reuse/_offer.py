"""What a provider offers: a model, the specification of its training inputs, and what its outputs are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from skfusion._rows import Rows, Task
from skfusion.data import for_estimator
from skfusion.nets import Runner, exclusive, in_units, two_classes, with_columns_of
from skfusion.pool import Member
from skfusion.reuse._estimator_outputs import own_outputs
from skfusion.reuse._features import estimator_features, network_features
from skfusion.reuse._specification import Specification


@dataclass(frozen=True, eq=False)
class Offer:
    """A model that may be reused.

    Parameters
    ----------
    member : Member
        The model, a network or a fitted estimator.
    specification : Specification
        That of its training inputs, fitted.
    labels : tuple, optional
        The user's name for the class of each output, in their order; several outputs may have one name. None in
        regression.
    """

    member: Member
    specification: Specification
    labels: tuple[Any, ...] | None = None
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.member.is_network and self.labels is None and _classifies(self.member.net):
            raise ValueError(
                f"Member {self.name!r} classifies, and it is not known what its outputs stand for: give labels=, a "
                "label for each output. Models of several labels a row are not reused."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": {}}

    @property
    def name(self) -> str:
        """The name of the member."""
        return self.member.name

    @property
    def task(self) -> Task:
        """What the outputs are: those of classes, or values."""
        return "regression" if self.labels is None else "classification"

    def replace(self, **changes: Any) -> Offer:
        """Return a copy with some fields changed.

        Parameters
        ----------
        **changes : dict
            New values of ``member``, ``specification`` and ``labels``.

        Returns
        -------
        Offer
            The copy.
        """
        kept = {"member": self.member, "specification": self.specification, "labels": self.labels}
        return Offer(**{**kept, **changes})

    def predictions(self, X: Any) -> np.ndarray:
        """Predict with the model as it is.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Inputs, as the model takes them.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Probabilities of its own classes, in the order of ``labels``; ones and zeros from estimators without
            probabilities. Values in regression.
        """
        if self.member.is_network:
            out = self.runner(X).predict(self.member.state, as_network_inputs(X))
            out = in_units(self.member, out) if self.task == "regression" else out
        else:
            out = own_outputs(self.member.estimator, self._as_it_takes(X), self.task)
            out = out.astype(np.float64) if self.task == "regression" else out
        if self.labels is not None and out.shape[1] != len(self.labels):
            raise ValueError(
                f"Member {self.name!r} has {out.shape[1]} outputs, and {len(self.labels)} labels: {self.labels}. Give "
                "a label for each output."
            )
        return out

    def features(self, X: Any) -> np.ndarray:
        """Return what the last layer of a network reads; what an estimator of another kind predicts.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Inputs, as the model takes them.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Activations before the last layer with weights, flattened; decision scores, probabilities or values of an
            estimator.
        """
        if self.member.is_network:
            return network_features(self.runner(X), self.member.state, as_network_inputs(X))
        return estimator_features(self.member.estimator, self._as_it_takes(X))

    def for_classes(self, P: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return predictions as probabilities of a user's classes, or values as they are; see :meth:`predictions`.

        Those of outputs of one label are added. Outputs of other labels are left out and the rest is scaled to sum one;
        where nothing is left, all classes are equally probable.
        """
        if self.labels is None:
            return P
        own = [label in self.labels for label in classes.tolist()]
        out = np.zeros((len(P), len(classes)))
        for column in np.flatnonzero(own):
            of_label = [i for i, label in enumerate(self.labels) if label == classes[column]]
            out[:, column] = P[:, of_label].sum(axis=1)
        total = out.sum(axis=1, keepdims=True)
        return np.where(total > 0, out / np.where(total > 0, total, 1.0), 1 / len(classes))

    def runner(self, X: Any) -> Runner:
        """Return what runs the network; see :meth:`predictions`."""
        if "runner" not in self._kept:
            net = self.member.net
            if net is None:
                raise ValueError(
                    f"Member {self.name!r} has no net, as it comes from a file: give the net that it was trained with, "
                    "ReusePool.load(path, net={name: net, ...})."
                )
            net = with_columns_of(net, self.member.state)
            example = Rows(as_network_inputs(X), np.zeros(len(X)))
            self._kept["runner"] = Runner(net, self.task, example)
            self._kept["runner"].place(self.member.state)
        runner: Runner = self._kept["runner"]
        return runner

    def _as_it_takes(self, X: Any) -> Any:
        """Return inputs with the estimator's names of columns, and flat where it was fitted on so many columns."""
        X = for_estimator(self.member.estimator, X)
        shape = getattr(X, "shape", ())
        width = getattr(self.member.estimator, "n_features_in_", None)
        return np.asarray(X).reshape(shape[0], -1) if len(shape) > 2 and width == np.prod(shape[1:]) else X


def _classifies(net: Any) -> bool:
    return net is not None and (is_classifier(net) or exclusive(net) or two_classes(net))


def labels_of(own: Any, labels: Any, name: str) -> tuple[Any, ...] | None:
    """Return the user's label of each output: given for each output, or by the label that the model itself has."""
    if isinstance(own, list) and any(np.ndim(of_output) for of_output in own):
        raise ValueError(f"Model {name!r} was fitted on several labels a row; models of one label a row are reused.")
    known = None if own is None else tuple(np.asarray(own).tolist())
    if labels is None:
        return known
    if not isinstance(labels, Mapping):
        given = tuple(np.asarray(labels).tolist()) if isinstance(labels, Sequence | np.ndarray) else (labels,)
        if known is not None and len(given) != len(known):
            raise ValueError(f"labels has {len(given)} entries for the {len(known)} classes of {name!r}: {known}.")
        return given
    if known is None:
        raise ValueError(f"Member {name!r} names no classes of its own: give labels as a list, one for each output.")
    if unknown := [label for label in labels if label not in known]:
        raise ValueError(f"labels renames {unknown[:5]}, which are no classes of {name!r}: {list(known)}.")
    return tuple(labels.get(label, label) for label in known)


def as_network_inputs(X: Any) -> Any:
    """Return inputs as networks take them: float32 arrays, integers of a dict as int64."""
    if isinstance(X, Mapping):
        return {k: np.asarray(v, np.int64 if np.asarray(v).dtype.kind in "iub" else np.float32) for k, v in X.items()}
    return np.ascontiguousarray(X, dtype=np.float32)
