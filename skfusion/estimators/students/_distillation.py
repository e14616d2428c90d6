"""One network of any architecture that learns to predict what an ensemble predicts (Hinton et al., 2015)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import get_tags

from skfusion import nets
from skfusion._rows import Rows, Task
from skfusion.data import check_inputs, check_weight, encode_classes, encode_values, positive, warn_of_unlabelled
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.estimators.students._distil import DistilDriver
from skfusion.estimators.support._member_outputs import outputs_of
from skfusion.estimators.support._named_members import member_tags
from skfusion.estimators.support._outputs import Outputs
from skfusion.pool import ModelPool


class DistillClassifier(Classifies, DistilDriver):
    r"""Classify with one network that learns from labels and from what a teacher predicts.

    The student minimises the mean over rows of

    .. math:: \alpha \, \ell(y, f(x)) + (1 - \alpha) \, T^2 \, \mathrm{KL}\big(p^{(T)}(x) \,\|\, q^{(T)}(x)\big)

    where :math:`\ell` is the loss of its own criterion, and :math:`p^{(T)}` and :math:`q^{(T)}` are the probabilities
    of teacher and student after their logits are divided by the temperature T. Prediction costs one network, of an
    architecture that need not be the teacher's.

    Parameters
    ----------
    estimator : skorch net, optional
        The student. A perceptron sized to the data when omitted.
    teacher : estimator or ModelPool, optional
        Any classifier with ``predict_proba``, or a pool, whose mean prediction teaches; ``EnsembleClassifier`` of five
        seeds of the student when omitted. One that is fitted is used as it is, also on rows that it was trained on;
        another one is fitted on the data of ``fit``. scikit-learn's ``clone``, and with it cross-validation, unfits it:
        give ``FrozenEstimator(teacher)`` or a pool to keep it.
    temperature : float, default=2.0
        What logits are divided by. A larger one shows more of how the teacher orders the classes that it thinks are
        wrong; with a very large one the student learns the logits themselves.
    alpha : float, default=0.5
        Share of the loss of the labels. 1 is ordinary training, and 0 learns from the teacher alone.
    random_state : int or RandomState, optional
        Seed of the student, and of a teacher that is fitted here and has none.
    verbose : int, default=0
        1 lets the student print its table of epochs, where its own ``verbose`` asks for it.

    Attributes
    ----------
    teacher_ : estimator
        The fitted teacher; a pool as ``EnsembleClassifier``.
    estimator_ : skorch net
        The student as a fitted copy of the net.
    state_ : dict of Tensor
        Its weights.
    history_ : list of dict
        Its losses, one dict an epoch.
    classes_ : ndarray of shape (n_classes,)
        The labels: those of a teacher that is given fitted, or those in y.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    Notes
    -----
    Rows without labels are given apart, as ``fit(X, y, X_unlabelled=...)``, so that -1 can be a class. In the student's
    own validation split they have the label that the teacher finds most probable. Labels of multi-label problems are
    learned one by one, and their divergences averaged. Logits of the teacher are the logarithms of its probabilities,
    so a class of probability 0 keeps it at any temperature.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import ExtraTreesClassifier
    >>> from skfusion import DistillClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> student = DistillClassifier(teacher=ExtraTreesClassifier(), random_state=0)
    >>> student.fit(X[::2], y[::2], X_unlabelled=X[1::2]).score(X[1::2], y[1::2]) > 0.9
    True
    """

    _ensemble: ClassVar[Any] = EnsembleClassifier

    def __init__(
        self,
        estimator: Any = None,
        *,
        teacher: Any = None,
        temperature: float = 2.0,
        alpha: float = 0.5,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.teacher = teacher
        self.temperature = temperature
        self.alpha = alpha
        self.random_state = random_state
        self.verbose = verbose

    def _check_teacher(self, teacher: Any) -> None:
        if not hasattr(teacher, "predict_proba"):
            raise TypeError(
                f"The teacher {type(teacher).__name__} has no predict_proba, and the student learns probabilities: "
                "give another one, or CalibratedClassifierCV(teacher)."
            )

    def _validated(self, X: Any, y: Any, sample_weight: Any, teacher: Any) -> tuple[Rows, np.ndarray]:
        X, y = check_inputs(self, X, y, reset=True)
        weight = check_weight(sample_weight, len(y))
        known = None if teacher is None or y.ndim > 1 else np.asarray(teacher.classes_)
        if known is not None and (unknown := {*(y if weight is None else y[weight > 0]).tolist()} - {*known.tolist()}):
            remedy = "Train the teacher on them too, or leave their rows out."
            if unknown == {-1}:
                remedy = "If these rows have no label, give them apart, as fit(X, y, X_unlabelled=...)."
            raise ValueError(
                f"The teacher knows the classes {known.tolist()}, and y has others: {sorted(unknown, key=str)}. "
                f"{remedy}"
            )
        named = getattr(self.estimator, "classes", None)
        codes, columns, self._task = encode_classes(y, weight, known if named is None else named)
        self._outputs, self.classes_ = Outputs.of_classes(columns), np.sort(columns)
        if known is None and named is None:
            warn_of_unlabelled(self.classes_, codes)
        return positive(Rows(X, codes, weight, task=self._task)), codes

    def _asked(self, X: Any) -> np.ndarray:
        if self._task == "multilabel":
            found = outputs_of(self.teacher_, X, self._task, len(self.classes_))
            if found.shape[1] != len(self.classes_):
                raise ValueError(f"The teacher knows {found.shape[1]} labels, and y has {len(self.classes_)}.")
            return found
        column = {label: i for i, label in enumerate(self._labels().tolist())}
        taught = np.asarray(self.teacher_.classes_).tolist()
        if unknown := [label for label in taught if label not in column]:
            raise ValueError(
                f"The teacher knows classes that the student does not: {unknown}. Name all of them in the net's "
                "parameter classes=[...], or leave it unset."
            )
        found = np.asarray(self.teacher_.predict_proba(X))
        out = np.zeros((len(found), len(column)))
        out[:, [column[label] for label in taught]] = found
        return out

    def _guessed(self, soft: np.ndarray) -> np.ndarray:
        return soft > 0.5 if self._task == "multilabel" else soft.argmax(axis=1)

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return y if self._task == "multilabel" else self._labels()[y]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if _is_estimator(self.teacher):
            own, of_teacher = tags.classifier_tags, member_tags([self.teacher])[1]
            own.multi_class &= of_teacher.multi_class
            own.multi_label &= of_teacher.multi_label
        return tags


class DistillRegressor(Regresses, DistilDriver):
    r"""Predict values with one network that learns from targets and from what a teacher predicts.

    The student minimises the mean over rows of

    .. math:: \alpha \, \ell(y, f(x)) + (1 - \alpha) \, \ell(g(x), f(x))

    where :math:`\ell` is the loss of its own criterion, such as the squared error, and :math:`g` is the teacher.
    Prediction costs one network, of an architecture that need not be the teacher's.

    Parameters
    ----------
    estimator : skorch net, optional
        The student. A perceptron sized to the data when omitted.
    teacher : estimator or ModelPool, optional
        Any regressor, or a pool, whose mean prediction teaches; ``EnsembleRegressor`` of five seeds of the student when
        omitted. One that is fitted is used as it is, also on rows that it was trained on; another one is fitted on the
        data of ``fit``. scikit-learn's ``clone``, and with it cross-validation, unfits it: give
        ``FrozenEstimator(teacher)`` or a pool to keep it.
    alpha : float, default=0.5
        Share of the loss of the targets. 1 is ordinary training, and 0 learns from the teacher alone.
    random_state : int or RandomState, optional
        Seed of the student, and of a teacher that is fitted here and has none.
    verbose : int, default=0
        1 lets the student print its table of epochs, where its own ``verbose`` asks for it.

    Attributes
    ----------
    teacher_ : estimator
        The fitted teacher; a pool as ``EnsembleRegressor``.
    estimator_ : skorch net
        The student as a fitted copy of the net.
    state_ : dict of Tensor
        Its weights.
    history_ : list of dict
        Its losses, one dict an epoch.
    n_features_in_ : int
        Features in ``fit``.
    feature_names_in_ : ndarray of str
        Names of the features, where X had some.

    Notes
    -----
    Rows without targets are given apart, as ``fit(X, y, X_unlabelled=...)``. In the student's own validation split they
    have the value that the teacher predicts.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skfusion import DistillRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> student = DistillRegressor(teacher=Ridge(0.1), alpha=0.2, random_state=0)
    >>> student.fit(X[::2], y[::2], X_unlabelled=X[1::2]).score(X[1::2], y[1::2]) > 0.4
    True
    """

    _ensemble: ClassVar[Any] = EnsembleRegressor

    def __init__(
        self,
        estimator: Any = None,
        *,
        teacher: Any = None,
        alpha: float = 0.5,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.teacher = teacher
        self.alpha = alpha
        self.random_state = random_state
        self.verbose = verbose

    def _check_teacher(self, teacher: Any) -> None:
        if is_classifier(teacher) or not hasattr(teacher, "predict"):
            raise TypeError(
                f"The teacher {type(teacher).__name__} predicts no values: give a regressor, or use DistillClassifier."
            )

    def _validated(self, X: Any, y: Any, sample_weight: Any, teacher: Any) -> tuple[Rows, np.ndarray]:
        X, y = check_inputs(self, X, y, reset=True)
        self._task: Task = "regression"
        self._flat = y.ndim == 1
        values = encode_values(y)
        self._n_outputs = values.shape[1]
        weight = check_weight(sample_weight, len(y))
        self._outputs = Outputs.of_values(values, weight)
        return positive(Rows(X, self._outputs.encoded(values), weight, task=self._task)), y

    def _asked(self, X: Any) -> np.ndarray:
        found = np.asarray(self.teacher_.predict(X))
        found = found.reshape(len(found), -1)
        if found.shape[1] != self._n_outputs:
            raise ValueError(f"The teacher predicts {found.shape[1]} values a row, and y has {self._n_outputs}.")
        return self._outputs.encoded(found)

    def _guessed(self, soft: np.ndarray) -> np.ndarray:
        return soft

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if _is_estimator(self.teacher) and is_regressor(self.teacher) and not nets.is_net(self.teacher):
            tags.target_tags.multi_output &= get_tags(self.teacher).target_tags.multi_output
        return tags


def _is_estimator(teacher: Any) -> bool:
    return hasattr(teacher, "fit") and not isinstance(teacher, (type, ModelPool))
