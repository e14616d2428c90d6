"""Deep forests of values (Zhou and Feng, 2017): a level reads what the level before predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from skfusion._rows import Rows, Task
from skfusion.forests._cascade import Cascade
from skfusion.forests._data import check_inputs, value_rows


class DeepForestRegressor(RegressorMixin, Cascade):
    r"""Predict values by a cascade of random forests, without gradients.

    As :class:`DeepForestClassifier`, but a level reads the values that the forests of the level before predict:

    .. math:: v_{l,f} = F_{l,f}\big([x, v_{l-1,1}, \dots, v_{l-1,2M}]\big), \qquad
        y(x) = \frac{1}{2M} \sum_f v_{L,f}

    Parameters
    ----------
    n_forests : int, default=2
        Forests of each kind in a level, :math:`M`.
    n_trees : int, default=100
        Trees of a forest.
    max_features : {"sqrt", "log2"}, int, float or None, default=1/3
        Features that a random forest looks at in a split.
    max_depth : int, optional
        Depth of the trees; until leaves hold one value when omitted.
    min_samples_leaf : int or float, default=1
        Rows in a leaf. More give smoother values.
    cv : int, splitter or iterable, default=5
        Folds of the cross-fitting. More cost more and leave each forest more rows. A number keeps equal rows in one
        fold; a splitter, or positions, divide the rows that ``fit`` is given as they say.
    max_levels : int, default=20
        Most levels.
    tolerance : int, default=2
        Levels in a row without improvement after which to stop.
    delta : float, default=1e-5
        How much better than the best so far counts as an improvement, in R2.
    scan : skfusion.forests.MultiGrainedScan, optional
        Describes images or sequences by windows; the levels read its grains in turn, in the place of the inputs. Flat
        rows are sequences to it, though they be the pixels of an image, unless it is told their ``shape``.
    n_jobs : int, optional
        Forests that are fitted at a time, by the scan too where it has no ``n_jobs``; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Seed of folds and forests.

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
        self.n_forests = n_forests
        self.n_trees = n_trees
        self.max_features = max_features
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.cv = cv
        self.max_levels = max_levels
        self.tolerance = tolerance
        self.delta = delta
        self.scan = scan
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Rows:
        X, y = check_inputs(self, X, y, reset=True, missing=True)
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
        found = self._last(X)
        return found[:, 0] if self._flat else found

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predict values by each level.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Inputs, as in ``fit``.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values of the next level.
        """
        for found in self._staged(X):
            yield found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
