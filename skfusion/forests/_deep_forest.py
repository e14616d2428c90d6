"""Deep forests (gcForest; Zhou and Feng, 2017): a cascade of forests that read what the level before predicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import accuracy_score, r2_score

from skfusion._docs import CLASSIFIER, REGRESSOR, doc
from skfusion._rows import Rows, Task
from skfusion.data import PredictsClasses, PredictsValues
from skfusion.forests._cascade import Cascade
from skfusion.forests._checked import check_array_inputs, class_rows, value_rows


@doc(
    CLASSIFIER,
    max_features='"sqrt"',
    leaves="are pure",
    vectors="class vectors",
    predicted=r"P(y \mid x)",
    fitted_on="all rows, on class codes",
    targets="labels",
    target="label",
    coins="""
    With 500 tossed coins for labels, the later levels score 0.5 to 3.3 points above chance (means of 12 draws, with 3,
    5 and 10 folds).""",
    example="""
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skfusion import DeepForestClassifier
    >>> X, X_test, y, y_test = train_test_split(*load_digits(n_class=4, return_X_y=True), random_state=0)
    >>> forest = DeepForestClassifier(n_trees=10, cv=3, random_state=0).fit(X, y)
    >>> forest.score(X_test, y_test) > 0.95
    True

    The rows are images of 8 x 8 pixels, which a scan looks at through windows of 4 x 4:

    >>> from skfusion.forests import MultiGrainedScan
    >>> scan = MultiGrainedScan(windows=(4,), stride=2, shape=(8, 8), n_trees=5)
    >>> scanning = DeepForestClassifier(n_trees=10, cv=3, scan=scan, random_state=0).fit(X, y)
    >>> scanning.scan_.grid_
    [(3, 3)]""",
)
class DeepForestClassifier(PredictsClasses, Cascade):
    _task: ClassVar[Task] = "classification"

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Rows:
        X, y = check_array_inputs(self, X, y, reset=True)
        rows, self.classes_ = class_rows(X, y, sample_weight, groups)
        self._n_outputs = len(self.classes_)
        return rows

    def _score(self, prediction: np.ndarray, rows: Rows) -> float:
        return float(accuracy_score(rows.y, prediction.argmax(axis=1), sample_weight=rows.weight))

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """Predict class probabilities by each level in turn; see :meth:`predict_proba`.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
            Probabilities of the next level.
        """
        yield from self._staged(self._inputs(X))


@dataclass(eq=False, repr=False)
@doc(
    REGRESSOR,
    max_features="1/3",
    leaves="hold one value",
    vectors="values",
    predicted="y(x)",
    fitted_on="all rows",
    targets="values",
    target="value",
    coins="",
    example="""
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from skfusion import DeepForestRegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> forest = DeepForestRegressor(n_trees=20, cv=3, random_state=0).fit(X, y)
    >>> forest.score(X_test, y_test) > 0.2
    True""",
)
class DeepForestRegressor(PredictsValues, Cascade):
    max_features: Any = 1 / 3

    _task: ClassVar[Task] = "regression"

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Rows:
        X, y = check_array_inputs(self, X, y, reset=True)
        self._flat = y.ndim == 1
        rows = value_rows(X, y, sample_weight, groups)
        self._n_outputs = rows.y.shape[1]
        return rows

    def _score(self, prediction: np.ndarray, rows: Rows) -> float:
        return float(r2_score(rows.y, prediction, sample_weight=rows.weight))

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predict values by each level in turn; see :meth:`predict`.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values of the next level.
        """
        for values in self._staged(self._inputs(X)):
            yield values[:, 0] if self._flat else values
