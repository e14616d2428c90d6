"""Deep forests of values (Zhou and Feng, 2017): a level reads what the level before predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from skfusion._rows import Rows, Task
from skfusion.forests._cascade import Cascade, with_parameters
from skfusion.forests._checked import check_array_inputs, value_rows


@with_parameters(max_features="1/3", leaves="hold one value", vectors="values", score="R2")
class DeepForestRegressor(RegressorMixin, Cascade):
    r"""Predict values by a cascade of random forests, without gradients.

    As :class:`DeepForestClassifier`, but a level reads the values that the forests of the level before predict:

    .. math:: v_{l,f} = F_{l,f}\big([x, v_{l-1,1}, \dots, v_{l-1,2M}]\big), \qquad
        y(x) = \frac{1}{2M} \sum_f v_{L,f}

    PARAMETERS

    Attributes
    ----------
    levels_ : list of list of sklearn forest
        The forests of each level that is kept, fitted on all rows.
    n_levels_ : int
        Levels that are kept.
    level_scores_ : ndarray of shape (n_tried,)
        Cross-fitted R2 of each level that was tried; optimistic after the first one where values are noisy, as
        :class:`DeepForestClassifier` says.
    scan_ : skfusion.forests.MultiGrainedScan or None
        The fitted scan.
    n_features_in_ : int
        Columns of the inputs.

    Notes
    -----
    A level costs ``2 * n_forests * (cv + 1)`` forests, as for classes.

    References
    ----------
    Zhou and Feng, "Deep forest: towards an alternative to deep neural networks", IJCAI 2017, arXiv:1702.08835.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from skfusion import DeepForestRegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> forest = DeepForestRegressor(n_trees=20, cv=3, random_state=0).fit(X, y)
    >>> forest.score(X_test, y_test) > 0.2
    True
    """

    _task: ClassVar[Task] = "regression"

    def __init__(
        self,
        n_forests: int = 2,
        n_trees: int = 100,
        max_features: Any = 1 / 3,
        max_depth: int | None = None,
        min_samples_leaf: int | float = 1,
        cv: Any = 5,
        max_levels: int = 20,
        tolerance: int = 2,
        delta: float = 1e-5,
        scan: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ):
        trees = n_forests, n_trees, max_features, max_depth, min_samples_leaf
        super().__init__(*trees, cv, max_levels, tolerance, delta, scan, n_jobs, random_state)

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Rows:
        X, y = check_array_inputs(self, X, y, reset=True)
        self._flat = y.ndim == 1
        rows = value_rows(X, y, sample_weight, groups)
        self._n_outputs = rows.y.shape[1]
        return rows

    def _score(self, prediction: np.ndarray, rows: Rows) -> float:
        return float(r2_score(rows.y, prediction, sample_weight=rows.weight))

    def predict(self, X: Any) -> np.ndarray:
        """Predict values: the mean over the forests of the last level.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values, in the shape of the y that was fitted on.
        """
        values = self._last(X)
        return values[:, 0] if self._flat else values

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predict values by each level in turn; see :meth:`predict`.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values of the next level.
        """
        for values in self._staged(X):
            yield values[:, 0] if self._flat else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
