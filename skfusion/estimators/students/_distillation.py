"""Knowledge distillation: one network of any architecture learns to predict what a teacher predicts."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import check_random_state, get_tags

from skfusion import nets
from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._rows import Inputs, Rows, unlabelled
from skfusion.collect import Seeds
from skfusion.data import check_inputs, check_weight, encode_values, positive, table, table_inputs, warn_of_unlabelled
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._targets import Classifies, Outputs, Regresses, encode_labels
from skfusion.estimators.students import _teacher as teaching
from skfusion.estimators.students._one_network import OneNetwork
from skfusion.estimators.support._any_estimator import fit_weighted, stream
from skfusion.estimators.support._named_members import member_tags, prepared
from skfusion.nets import Soft
from skfusion.pool import ModelPool


@template
class _Distill(OneNetwork):
    """{Predict} with one network that learns from {labels} and from what a teacher predicts (knowledge distillation).

    The student minimises the mean over rows of

    .. math:: {loss}

    {where}
    Prediction costs one network, of an architecture that need not be the teacher's.

    Parameters
    ----------
    estimator : skorch net, optional
        The student. The network for tables, sized to the data, when omitted.
    teacher : estimator or ModelPool, optional
        Any {kind}, or a pool, whose mean prediction teaches; when omitted, ``{Ensemble}`` of five
        seeds of the student. A fitted teacher is used as it is, also on rows that it was trained on; another one is
        fitted on the data of ``fit``. In cross-validation, give ``FrozenEstimator(teacher)`` or a pool to keep it.
    {temperature}
    alpha : float, default=0.5
        Share of the loss of the {labels}. 1 is ordinary training, and 0 learns from the teacher alone.
    random_state : int or RandomState, optional
        Seed of the student, and of a teacher that is fitted here and has none.
    verbose : int, default=0
        1 lets the net print its table of epochs, where its own ``verbose`` asks for it.

    Attributes
    ----------
    teacher_ : estimator
        The fitted teacher; a pool as ``{Ensemble}``.
    {estimator_}
    {state_}
    {history_}
    {classes_}
    {features_}

    Notes
    -----
    Rows without {labels} are given apart, as ``fit(X, y, X_unlabelled=...)``{apart}. In the
    student's own validation split they have the {target} that the teacher predicts.
    {notes}

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.

    Examples
    --------
    >>> from sklearn.datasets import {load}
    >>> from {module} import {Teacher}
    >>> from skfusion import {name}
    >>> X, y = {load}(return_X_y=True)
    >>> student = {name}(teacher={Teacher}(), random_state=0)
    >>> student.fit(X[::2], y[::2], X_unlabelled=X[1::2]).score(X[1::2], y[1::2]) > {least}
    True
    """

    temperature: float = 1.0
    _ensemble: ClassVar[Any]

    @abstractmethod
    def _validated(self, X: Any, y: Any, sample_weight: Any, teacher: Any) -> tuple[Rows, np.ndarray]:
        """Return rows of positive weight, and the targets of all rows as numbers; ``teacher`` is fitted, or None."""

    @abstractmethod
    def _taught(self, X: Any) -> np.ndarray:
        """Return what the teacher predicts, shape (n_samples, n_outputs)."""

    def _targets(self, soft: np.ndarray) -> np.ndarray:
        """Return encoded targets for rows that have only what the teacher predicts."""
        return soft

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        """Return encoded targets as the user gave them."""
        return y

    @doc()
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_unlabelled: Any = None) -> _Distill:
        """Fit the teacher where it is not fitted yet, and train the student on what it predicts.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or dict of array-like
            Inputs. The teacher gets them as they are, and the student as an ensemble's networks do.
        {y}
        {sample_weight}
        X_unlabelled : array-like of shape (n_unlabelled, ...), or dict of array-like, optional
            Inputs without targets, for which the student learns what the teacher predicts; each has weight 1. They are
            not read where ``alpha`` is 1.

        {fitted}
        """
        self._check()
        teacher_seed, seed = (int(s) for s in check_random_state(self.random_state).randint(2**31 - 1, size=2))
        teacher = self._fitted_teacher(X, y, sample_weight)
        rows, exact = self._validated(X, y, sample_weight, teacher)
        seen = table(table_inputs(self, X), exact)  # by the teacher, which may take a frame
        if rows.position is not None:  # rows of weight zero are left out
            seen = seen.take(rows.position)
        seen = replace(seen, weight=rows.weight, position=None)
        self.teacher_ = self._fit_teacher(seen, teacher_seed) if teacher is None else teacher
        soft, labelled = teaching.predicted_once(self, seen), None
        rows = replace(rows, position=None)
        if X_unlabelled is not None and self.alpha < 1:
            more = check_inputs(self, X_unlabelled, reset=False)[0]
            predicted = teaching.predicted_once(self, table(table_inputs(self, X_unlabelled), unlabelled(more).y))
            labelled = np.arange(len(rows) + len(predicted)) < len(rows)
            rows, soft = self._with_unlabelled(rows, more, predicted), np.concatenate([soft, predicted])
        rows = rows.expanded()
        order = slice(None) if rows.position is None else rows.position
        lesson = Soft(soft[order], None if labelled is None else labelled[order], self.alpha, self.temperature)
        self._train(rows, seed, lesson)
        return self

    def _check(self) -> None:
        if not isinstance(self.alpha, Real) or not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is the share of the loss of the targets, between 0 and 1; got {self.alpha!r}.")
        if not isinstance(self.temperature, Real) or not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature must be a positive number; got {self.temperature!r}.")

    def _fitted_teacher(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """Return the teacher, or None where it is not fitted; a pool, or a fitted net, becomes an ensemble."""
        teacher = self.teacher
        if teacher is None:
            return None
        if isinstance(teacher, type) or not (isinstance(teacher, ModelPool) or hasattr(teacher, "fit")):
            raise TypeError(f"teacher must be an estimator or a ModelPool; got {teacher!r}.")
        if not isinstance(teacher, ModelPool):
            teaching.check_teacher(teacher, is_classifier(self))
        if nets.is_net(teacher) and getattr(teacher, "initialized_", False):
            teacher = ModelPool.from_estimators([teacher])
        if isinstance(teacher, ModelPool):
            return self._ensemble().fuse(teacher, X, y, sample_weight)
        return teacher if teaching.is_fitted(teacher) else None

    def _fit_teacher(self, rows: Rows, seed: int) -> Any:
        teacher = self._ensemble(self.estimator, collect=Seeds(5)) if self.teacher is None else self.teacher
        teacher = prepared(teacher, seed, self._ensemble)
        rows = replace(rows, y=self._decoded(rows.y))
        with stream(teacher, seed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "y has -1 beside the classes", UserWarning)  # the student has warned
            remedy = "Fit the teacher first, or give no weights."
            return fit_weighted(teacher, rows, f"The teacher {type(teacher).__name__}", remedy)

    def _with_unlabelled(self, rows: Rows, more: Inputs, predicted: np.ndarray) -> Rows:
        X = {k: np.concatenate([v, more[k]]) for k, v in rows.X.items()} if isinstance(rows.X, dict) else None
        weight = None if rows.weight is None else np.concatenate([rows.weight, np.ones(len(predicted))])
        y = np.concatenate([rows.y, self._targets(predicted).astype(rows.y.dtype)])
        return Rows(np.concatenate([rows.X, more]) if X is None else X, y, weight, task=rows.task)


@dataclass(eq=False, repr=False)
@doc(
    CLASSIFIER,
    labels="labels",
    kind="classifier",
    loss=r"\alpha \, \ell(y, f(x)) + (1 - \alpha) \, T^2 \, \mathrm{KL}\big(p^{(T)}(x) \,\|\, q^{(T)}(x)\big)",
    where=r"""
    where :math:`\ell` is the loss of its criterion, and :math:`p^{(T)}` and :math:`q^{(T)}` are the probabilities
    of teacher and student after their logits are divided by the temperature T.""",
    temperature="""
    temperature : float, default=2.0
        What logits are divided by. A larger one shows more of how the teacher orders the classes that it thinks are
        wrong; with a very large one the student learns the logits themselves.""",
    classes_="""
    classes_ : ndarray of shape (n_classes,)
        The labels: those of a teacher that was fitted before, or those in y.""",
    apart=", so that -1 can be a class",
    target="label",
    notes="""
    Labels of multi-label problems are learned one by one, and their divergences averaged. Logits
    of the teacher are the logarithms of its probabilities, so a class of probability 0 keeps it at any temperature.""",
    load="load_wine",
    module="sklearn.ensemble",
    Teacher="ExtraTreesClassifier",
)
class DistillClassifier(Classifies, _Distill):
    estimator: Any = None
    _: KW_ONLY
    teacher: Any = None
    temperature: float = 2.0
    alpha: float = 0.5
    random_state: Any = None
    verbose: int = 0

    _ensemble: ClassVar[Any] = EnsembleClassifier

    def _validated(self, X: Any, y: Any, sample_weight: Any, teacher: Any) -> tuple[Rows, np.ndarray]:
        X, y = check_inputs(self, X, y, reset=True)
        weight = check_weight(sample_weight, len(y))
        known = None if teacher is None or y.ndim > 1 else np.asarray(teacher.classes_)
        if known is not None:
            teaching.check_classes(known, y if weight is None else y[weight > 0])
        named = getattr(self.estimator, "classes", None)
        codes = encode_labels(self, y, weight, known if named is None else named)
        if known is None and named is None:
            warn_of_unlabelled(self.classes_, codes)
        return positive(Rows(X, codes, weight, task=self._task)), codes

    def _taught(self, X: Any) -> np.ndarray:
        return teaching.probabilities(self.teacher_, X, self._task, self._labels().tolist())

    def _targets(self, soft: np.ndarray) -> np.ndarray:
        return soft > 0.5 if self._task == "multilabel" else soft.argmax(axis=1)

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return y if self._task == "multilabel" else self._labels()[y]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if teaching.is_estimator(self.teacher):
            of_teacher = member_tags([self.teacher])[1]
            tags.classifier_tags.multi_class &= of_teacher.multi_class
            tags.classifier_tags.multi_label &= of_teacher.multi_label
        return tags


@dataclass(eq=False, repr=False)
@doc(
    REGRESSOR,
    labels="targets",
    kind="regressor",
    loss=r"\alpha \, \ell(y, f(x)) + (1 - \alpha) \, \ell(g(x), f(x))",
    where=r"""
    where :math:`\ell` is the loss of its criterion, such as the squared error, and :math:`g` is the teacher.""",
    temperature="",
    apart="",
    target="value",
    notes="",
    module="sklearn.linear_model",
    Teacher="RidgeCV",
    least="0.4",
)
class DistillRegressor(Regresses, _Distill):
    estimator: Any = None
    _: KW_ONLY
    teacher: Any = None
    alpha: float = 0.5
    random_state: Any = None
    verbose: int = 0

    _ensemble: ClassVar[Any] = EnsembleRegressor

    def _validated(self, X: Any, y: Any, sample_weight: Any, teacher: Any) -> tuple[Rows, np.ndarray]:
        X, y = check_inputs(self, X, y, reset=True)
        self._task, self._flat = "regression", y.ndim == 1
        numbers = encode_values(y)
        self._n_outputs = numbers.shape[1]
        weight = check_weight(sample_weight, len(y))
        self._outputs = Outputs.of_values(numbers, weight)
        return positive(Rows(X, self._outputs.encoded(numbers), weight, task=self._task)), y

    def _taught(self, X: Any) -> np.ndarray:
        return self._outputs.encoded(teaching.values(self.teacher_, X, self._n_outputs))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if teaching.is_estimator(self.teacher) and is_regressor(self.teacher) and not nets.is_net(self.teacher):
            tags.target_tags.multi_output &= get_tags(self.teacher).target_tags.multi_output
        return tags
