"""A cascade of levels of forests, which deep forests of classes and of values share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion._component import HasParts
from skfusion._docs import template
from skfusion._rows import Rows, Task
from skfusion.data import Original, crossfit_folds
from skfusion.forests._checked import check_array_inputs, check_counts
from skfusion.forests._layer import fit_crossfitted, kinds, predict_each
from skfusion.forests._scan import MultiGrainedScan


@template
@dataclass(eq=False, repr=False)
class Cascade(HasParts, BaseEstimator):
    r"""{Predict} by a cascade of random forests, without gradients.

    Each level has ``n_forests`` random forests and as many of completely random trees. A level reads the inputs and the
    {vectors} of all forests of the level before:

    .. math:: v_{l,f} = F_{l,f}\big([x, v_{l-1,1}, \dots, v_{l-1,2M}]\big), \qquad
        {predicted} = \frac{1}{2M} \sum_f v_{L,f}

    The {vectors} of training rows are cross-fitted: each comes from a forest that was fitted without the row. Levels
    are added until the cross-fitted {score} has not improved for ``tolerance`` levels, and cut back to the best one.

    Parameters
    ----------
    n_forests : int, default=2
        Forests of each kind in a level, :math:`M`.
    n_trees : int, default=100
        Trees of a forest.
    max_features : {"sqrt", "log2"}, int, float or None, default={max_features}
        Features that a random forest looks at in a split.
    max_depth : int, optional
        Depth of the trees; until leaves {leaves} when omitted.
    min_samples_leaf : int or float, default=1
        Rows in a leaf. More give smoother {vectors}.
    cv : int, splitter or iterable, default=5
        Folds of the cross-fitting. More cost more and leave each forest more rows. A number keeps equal rows in one
        fold; a splitter, or positions, divide the rows that are passed to ``fit`` as they say.
    max_levels : int, default=20
        Most levels.
    tolerance : int, default=2
        Levels in a row without improvement after which to stop.
    delta : float, default=1e-5
        How much better than the best so far counts as an improvement, in {score}.
    scan : skfusion.forests.MultiGrainedScan, optional
        Describes images or sequences by windows; the levels read its grains in turn, in the place of the inputs. Flat
        rows are sequences to it, also where they are the pixels of an image, unless it has their ``shape``.
    n_jobs : int, optional
        Forests that are fitted at a time, by the scan too where it has no ``n_jobs``; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Seed of folds and forests.

    Attributes
    ----------
    {classes_}
    levels_ : list of list of sklearn forest
        The forests of each level that is kept, fitted on {fitted_on}.
    n_levels_ : int
        Levels that are kept.
    level_scores_ : ndarray of shape (n_tried,)
        Cross-fitted {score} of each level that was tried; Notes say how far to trust it.
    scan_ : skfusion.forests.MultiGrainedScan or None
        The fitted scan.
    {n_features_in_}

    Notes
    -----
    A level costs ``2 * n_forests * (cv + 1)`` forests; only those on all rows are kept, so that a prediction runs
    ``2 * n_forests * n_levels_``. Whole-number weights are repetitions of a row, which are in one fold whatever ``cv``
    is. Rows of ``X`` that are equal, as copies are, are in one fold where ``cv`` is a number; a splitter can part them,
    and then the scores are those of rows that have been seen.

    The {score} of the first level is that of an honest cross-validation. That of a later one is optimistic where
    {targets} are noisy: no forest saw the row that it describes, but the {vectors} of the other rows, which a level
    learns from, knew its {target}. A larger ``delta`` asks more of a new level. Judge the whole on other rows.
    {coins}

    References
    ----------
    Zhou and Feng, "Deep forest: towards an alternative to deep neural networks", IJCAI 2017, arXiv:1702.08835.

    Examples
    --------
    {example}
    """

    n_forests: int = 2
    n_trees: int = 100
    max_features: Any = "sqrt"
    max_depth: int | None = None
    min_samples_leaf: int | float = 1
    cv: Any = 5
    max_levels: int = 20
    tolerance: int = 2
    delta: float = 1e-5
    scan: Any = None
    n_jobs: int | None = None
    random_state: Any = None

    _task: ClassVar[Task]

    @abstractmethod
    def _rows(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Rows:
        """Return validated data, and set what predictions stand for."""

    @abstractmethod
    def _score(self, prediction: np.ndarray, rows: Rows) -> float:
        """Return how good a prediction of shape (n_rows, n_outputs) is; higher is better."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Cascade:
        """Grow levels of forests until the cross-fitted score no longer improves, and cut back to the best one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Inputs, where NaN stands for a missing value. Arrays of more axes, such as images, are flattened unless
            ``scan`` takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or values.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights. Whole numbers are repetitions of the row.
        groups : array-like of shape (n_samples,), optional
            Rows of one group are fitted on or predicted together.

        Returns
        -------
        Cascade
            The fitted estimator.
        """
        rows = self._rows(X, y, sample_weight, groups).expanded()
        check_counts(self, max_levels=1, tolerance=1, n_forests=1, n_trees=1)
        rng = check_random_state(self.random_state)
        original = Original(X, y, groups)
        grains = self._scan_rows(rows, original, rng)
        folds = crossfit_folds(rows, self.cv, self._task, int(rng.randint(np.iinfo(np.int32).max)), original)
        trees = {"max_depth": self.max_depth, "min_samples_leaf": self.min_samples_leaf}
        forests = kinds(self._task, self.n_forests, self.n_trees, self.max_features, **trees)
        levels: list[list[Any]] = []
        scores: list[float] = []
        best, best_score, vectors = 0, -np.inf, None
        for level in range(self.max_levels):
            features = self._augmented(grains, level, vectors)
            fitted, vectors = fit_crossfitted(forests, features, rows, folds, self._n_outputs, rng, self.n_jobs)
            levels.append(fitted)
            scores.append(self._score(vectors.mean(axis=0), rows))
            if scores[-1] > best_score + self.delta:
                best, best_score = level, scores[-1]
            elif level - best >= self.tolerance:
                break
        self.levels_ = levels[: best + 1]
        self.level_scores_ = np.array(scores)
        self.n_levels_ = best + 1
        return self

    def _scan_rows(self, rows: Rows, original: Original, rng: np.random.RandomState) -> list[np.ndarray]:
        """Return the features of each grain, cross-fitted; without a scan there is one grain, the inputs."""
        seed = int(rng.randint(np.iinfo(np.int32).max))
        if self.scan is None:
            self.scan_ = None
            return [rows.X.reshape(len(rows), -1)]
        if not isinstance(self.scan, MultiGrainedScan):
            hint = " Write MultiGrainedScan()." if isinstance(self.scan, type) else ""
            raise TypeError(f"scan must be a MultiGrainedScan or None; got {self.scan!r}.{hint}")
        self.scan_ = clone(self.scan)
        if self.scan_.random_state is None:
            self.scan_.set_params(random_state=seed)
        if self.scan_.n_jobs is None:
            self.scan_.set_params(n_jobs=self.n_jobs)
        return self.scan_._fit_rows(rows, original, self._task, self._n_outputs)

    @staticmethod
    def _augmented(grains: list[np.ndarray], level: int, vectors: np.ndarray | None) -> np.ndarray:
        """Return the features of a level: a grain in its turn, and the vectors of the level before."""
        grain = grains[level % len(grains)]
        return grain if vectors is None else np.hstack([grain, *vectors.astype(np.float32)])

    def _inputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return check_array_inputs(self, X, reset=False)[0]

    def _staged(self, X: np.ndarray) -> Iterator[np.ndarray]:
        grains = [X.reshape(len(X), -1)] if self.scan_ is None else self.scan_._grains_of(X)
        vectors = None
        for level, forests in enumerate(self.levels_):
            features = self._augmented(grains, level, vectors)
            vectors = predict_each(forests, features, self._n_outputs, self.n_jobs)
            yield vectors.mean(axis=0)

    def _predict(self, X: np.ndarray) -> np.ndarray:
        *_, last = self._staged(X)
        return last

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        return tags
