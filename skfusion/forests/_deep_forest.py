"""Deep forests (Zhou and Feng, 2017): a cascade of forests that read what the level before says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import accuracy_score

from skfusion._rows import Rows, Task
from skfusion.data import PredictsClasses
from skfusion.forests._cascade import Cascade, with_parameters
from skfusion.forests._checked import check_array_inputs, class_rows


@with_parameters(max_features='"sqrt"', leaves="are pure", vectors="class vectors", score="accuracy")
class DeepForestClassifier(PredictsClasses, Cascade):
    r"""Classify by a cascade of random forests, without gradients.

    Each level has ``n_forests`` random forests and as many of completely random trees. A level reads the inputs and the
    class vectors of all forests of the level before:

    .. math:: v_{l,f} = F_{l,f}\big([x, v_{l-1,1}, \dots, v_{l-1,2M}]\big), \qquad
        P(y \mid x) = \frac{1}{2M} \sum_f v_{L,f}

    The class vectors of training rows are cross-fitted: each comes from a forest that was fitted without the row.
    Levels are added until the cross-fitted accuracy has not improved for ``tolerance`` levels, and cut back to the best
    one.

    PARAMETERS

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    levels_ : list of list of sklearn forest
        The forests of each level that is kept, fitted on all rows, on class codes.
    n_levels_ : int
        Levels that are kept.
    level_scores_ : ndarray of shape (n_tried,)
        Cross-fitted accuracy of each level that was tried; Notes say how far to trust it.
    scan_ : skfusion.forests.MultiGrainedScan or None
        The fitted scan.
    n_features_in_ : int
        Columns of the inputs.

    Notes
    -----
    A level costs ``2 * n_forests * (cv + 1)`` forests; only those on all rows are kept, so that a prediction runs
    ``2 * n_forests * n_levels_``. Whole-number weights are repetitions of a row, which are in one fold whatever ``cv``
    is. Rows of ``X`` that are equal, as copies are, are in one fold where ``cv`` is a number; a splitter can part them,
    and then the scores are those of rows that have been seen.

    The accuracy of the first level is that of an honest cross-validation. That of a later one is optimistic where
    labels are noisy: no forest saw the row that it describes, but the vectors of the other rows, which a level learns
    from, knew its label. With 500 tossed coins for labels, the later levels score 0.5 to 3.3 points above chance (means
    of 12 draws, with 3, 5 and 10 folds). A larger ``delta`` asks more of a new level. Judge the whole on other
    rows.

    References
    ----------
    Zhou and Feng, "Deep forest: towards an alternative to deep neural networks", IJCAI 2017, arXiv:1702.08835.

    Examples
    --------
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
    [(3, 3)]
    """

    _task: ClassVar[Task] = "classification"

    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Rows:
        X, y = check_array_inputs(self, X, y, reset=True)
        rows, self.classes_ = class_rows(X, y, sample_weight, groups)
        self._n_outputs = len(self.classes_)
        return rows

    def _score(self, prediction: np.ndarray, rows: Rows) -> float:
        return float(accuracy_score(rows.y, prediction.argmax(axis=1), sample_weight=rows.weight))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities: the mean of the class vectors of the last level.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Inputs, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._last(X)

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """Predict class probabilities by each level in turn; see :meth:`predict_proba`.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
            Probabilities of the next level.
        """
        yield from self._staged(X)
