"""Bagging: networks on bootstrap samples, whose predictions are averaged."""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from skfusion._docs import AS_THE_NET, doc
from skfusion.collect import Bootstrap
from skfusion.estimators._base import Collected
from skfusion.estimators._ensemble import EnsembleDriver
from skfusion.estimators.support._out_of_bag import predicted_out_of_bag
from skfusion.estimators.support._task_from_net import AsTheNet


@doc(AS_THE_NET)
@dataclass(eq=False, repr=False)
class BaggingFusion(AsTheNet, EnsembleDriver):
    """Average the predictions of networks that were each trained on other rows, and other columns if asked (bagging).

    It stands for ``EnsembleClassifier(estimator, collect=Bootstrap(...))``, or that of values, as the net is.

    Parameters
    ----------
    {estimator}
    n_members : int, default=10
        Networks to train.
    max_samples : float, default=1.0
        Rows drawn for a member, as a share of all rows; of groups where ``fit`` gets some, which are drawn whole.
        Less makes members more diverse and each one worse.
    max_features : float or int, default=1.0
        Columns of a two-dimensional X that a member sees, drawn without replacement: a float as a share of all columns,
        rounded down but at least one, an int as their number. The net must have a module class that takes ``n_in``,
        or another one that can be made for fewer columns.
    bootstrap : bool, default=True
        Whether rows are drawn with replacement. Without, members see shares of the rows (pasting).
    oob_score : bool, default=False
        Whether to score each row by the members that were not trained on it, nor on another row of its group.
    {parallel_training}
    {class_weight}

    Attributes
    ----------
    pool_ : ModelPool
        The members; the columns of each stand in its ``meta["columns"]`` where it does not see all.
    estimators_ : list of skorch nets
        Fitted copies of the net, one a member. Each gets all columns, and selects those that it sees.
    {classes_}
    oob_score_ : float
        Accuracy or R2 of the out-of-bag predictions, with ``oob_score=True`` only, as the next. NaN, with a warning,
        where each row, or one with its inputs or of its group, is in all samples.
    oob_decision_function_, oob_prediction_ : ndarray of shape (n_samples, n_classes), or that of y
        Out-of-bag probabilities in classification, and values in regression; NaN for rows that are in all samples.

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 24, 1996, doi:10.1007/BF00058655. Breiman, "Pasting small votes for
    classification in large databases and on-line", Machine Learning 36, 1999, doi:10.1023/A:1007563306331. Ho, "The
    random subspace method for constructing decision forests", IEEE TPAMI 20, 1998, doi:10.1109/34.709601 (columns).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import BaggingFusion
    >>> X, y = load_iris(return_X_y=True)
    >>> BaggingFusion(oob_score=True, random_state=0).fit(X, y).oob_score_ > 0.9
    True
    """

    estimator: Any = None
    _: KW_ONLY
    n_members: int = 10
    max_samples: float = 1.0
    max_features: float = 1.0
    bootstrap: bool = True
    oob_score: bool = False
    memory: Any = None
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0
    class_weight: Any = None

    @property
    def collect(self) -> Bootstrap:
        """The collector that the parameters stand for."""
        return Bootstrap(self.n_members, self.max_samples, self.max_features, self.bootstrap)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> BaggingFusion:
        """Train the members, and score them out of bag if asked; see :meth:`EnsembleClassifier.fit`."""
        if self.oob_score and not self.bootstrap and self.max_samples == 1:
            raise ValueError(
                "oob_score=True needs rows that a member is not trained on, and with bootstrap=False and "
                "max_samples=1.0 all members are trained on all rows. Leave bootstrap at True, or give a smaller "
                "max_samples."
            )
        super().fit(X, y, sample_weight, groups)
        if self.oob_score:
            self._score_out_of_bag(X, y, sample_weight, groups)
        return self

    def _fuse(self, collected: Collected) -> None:
        for name in ("oob_score_", "oob_decision_function_", "oob_prediction_"):  # those of another pool
            vars(self).pop(name, None)
        super()._fuse(collected)

    def _score_out_of_bag(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        oob = predicted_out_of_bag(self, X, y, sample_weight, None, groups)
        weighty = slice(None) if sample_weight is None else np.broadcast_to(sample_weight, len(oob.n_members)) > 0
        if missing := int((oob.n_members[weighty] == 0).sum()):
            warnings.warn(
                f"{missing} rows are in the samples of all {self.n_members} members, themselves or by others of their "
                "group or with their inputs, so their out-of-bag predictions are NaN and do not count in oob_score_"
                f"{', which is NaN as no row is left' if not oob.n_members.any() else ''}. Train more members, or "
                "draw fewer rows for each: max_samples.",
                stacklevel=3,
            )
        self.oob_score_ = oob.score
        if self._is_classifier():
            self.oob_decision_function_ = oob.prediction
        else:
            self.oob_prediction_ = oob.prediction[:, 0] if self._flat else oob.prediction
