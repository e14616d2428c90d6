"""Bagging: networks on bootstrap samples, whose predictions are averaged (Breiman, 1996)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from skfusion.collect import Bootstrap
from skfusion.estimators._as_the_net import AsTheNet
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators._out_of_bag import out_of_bag


class BaggingFusion(AsTheNet, EnsembleDriver):
    """Average the predictions of networks that were trained on rows drawn with replacement.

    It stands for ``EnsembleClassifier(estimator, collect=Bootstrap(...), combine=Average())``. Whether it classifies
    or predicts values is told by the net, as in ``GridSearchCV``.

    Parameters
    ----------
    estimator : skorch net, optional
        The network. A perceptron for classification when omitted.
    n_members : int, default=10
        Networks to train.
    max_samples : float, default=1.0
        Rows drawn for a member, as a share of all rows. Less makes members more diverse and each one worse.
    oob_score : bool, default=False
        Whether to score each row by the members that were not trained on it.
    memory : str or joblib.Memory, optional
        Where to cache members. Needs an integer ``random_state``.
    n_jobs : int, optional
        Members trained at a time; they do not depend on it.
    random_state : int or RandomState, optional
        Seed of the samples and of the members.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    pool_ : ModelPool
        The members.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a member.
    classes_ : ndarray of shape (n_classes,)
        The labels, in classification.
    oob_score_ : float
        Accuracy or R2 of the out-of-bag predictions, with ``oob_score=True`` only, as the next two.
    oob_decision_function_ : ndarray of shape (n_samples, n_classes)
        Out-of-bag probabilities, in classification; NaN for rows that are in all samples.
    oob_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Out-of-bag values, in regression; NaN for rows that are in all samples.

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 24, 1996, doi:10.1007/BF00058655.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import BaggingFusion
    >>> X, y = load_iris(return_X_y=True)
    >>> BaggingFusion(oob_score=True, random_state=0).fit(X, y).oob_score_ > 0.9
    True
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_members: int = 10,
        max_samples: float = 1.0,
        oob_score: bool = False,
        memory: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.n_members = n_members
        self.max_samples = max_samples
        self.oob_score = oob_score
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @property
    def collect(self) -> Bootstrap:
        """The collector that the parameters stand for."""
        return Bootstrap(self.n_members, self.max_samples)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> BaggingFusion:
        """Train the members, and score them out of bag if asked; see :meth:`EnsembleClassifier.fit`."""
        for name in ("oob_score_", "oob_decision_function_", "oob_prediction_"):
            vars(self).pop(name, None)
        super().fit(X, y, sample_weight, groups)
        if self.oob_score:
            self._score_out_of_bag(X, y, sample_weight)
        return self

    def _score_out_of_bag(self, X: Any, y: Any, sample_weight: Any) -> None:
        found = out_of_bag(self, X, y, sample_weight)
        asked = slice(None) if sample_weight is None else np.broadcast_to(sample_weight, len(found.n_members)) > 0
        if missing := int((found.n_members[asked] == 0).sum()):
            warnings.warn(
                f"{missing} rows are in the samples of all {self.n_members} members, so their out-of-bag predictions "
                "are NaN and do not count in oob_score_. Train more members.",
                stacklevel=3,
            )
        self.oob_score_ = found.score
        if self._is_classifier():
            self.oob_decision_function_ = found.prediction
        else:
            self.oob_prediction_ = found.prediction[:, 0] if self._flat else found.prediction
