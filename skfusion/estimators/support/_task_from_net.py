"""Estimators that classify or predict values, whichever the net that they are given does."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

import numpy as np
from sklearn.base import is_regressor
from sklearn.utils import ClassifierTags, RegressorTags, get_tags
from sklearn.utils.metaestimators import available_if

from skfusion import nets
from skfusion._rows import Rows
from skfusion.estimators._ensemble import EnsembleClassifier
from skfusion.estimators._targets import Classifies, Regresses
from skfusion.pool import ModelPool


def has_tags(estimator: Any) -> bool:
    """Return whether scikit-learn can say what kind of estimator something is; ``fit`` raises an error for others."""
    return hasattr(estimator, "__sklearn_tags__") and not isinstance(estimator, type)


def regresses(estimator: Any) -> bool:
    """Return whether something is an estimator that predicts values."""
    return has_tags(estimator) and is_regressor(estimator)


def check_class_weight(class_weight: Any, classify: bool) -> None:
    """Raise where an estimator that predicts values is given weights of classes."""
    if class_weight is not None and not classify:
        raise ValueError(
            f"class_weight={class_weight!r} is for classification, and the net predicts values: leave it out, and "
            "weigh rows by sample_weight."
        )


class AsTheNet:
    """Targets in and predictions out, of the task that ``estimator`` is for; classification when it is None."""

    estimator: Any

    def _is_classifier(self) -> bool:
        return not regresses(self.estimator)

    def _kind(self) -> Any:
        return Classifies if self._is_classifier() else Regresses

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any, pool: ModelPool | None = None) -> Rows:
        if self.estimator is not None and not nets.is_net(self.estimator):
            raise nets.no_net(self.estimator)
        check_class_weight(getattr(self, "class_weight", None), self._is_classifier())
        return self._kind()._rows(self, X, y, sample_weight, groups, pool)

    def _labels(self) -> Any:
        return self._kind()._labels(self)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels, indicators or values, in the shape of y; see :meth:`fit`."""
        return self._kind().predict(self, X)

    _classifies = methodcaller("_is_classifier")
    predict_proba = available_if(_classifies)(Classifies.predict_proba)
    predict_log_proba = available_if(_classifies)(Classifies.predict_log_proba)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return accuracy, or R2 in regression; see :meth:`fit`."""
        return float(self._kind().score(self, X, y, sample_weight))

    def _classifier_tags(self) -> ClassifierTags:
        return get_tags(EnsembleClassifier(self.estimator)).classifier_tags or ClassifierTags()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self._is_classifier():
            tags.estimator_type, tags.classifier_tags = "classifier", self._classifier_tags()
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
            tags.target_tags.multi_output = True
        return tags
