"""A cascade of levels of forests: what deep forests of classes and of values have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion._component import HasParts
from skfusion._rows import Rows, Task
from skfusion.forests._data import check_inputs
from skfusion.forests._folds import Given, crossfit_folds
from skfusion.forests._layer import fit_crossfitted, kinds, predict_each
from skfusion.forests._scan import MultiGrainedScan


class Cascade(HasParts, BaseEstimator):
    """Grow levels while the cross-fitted score improves. Subclasses say what is predicted, and how it is scored."""

    _task: ClassVar[Task]
    n_forests: int
    n_trees: int
    max_features: Any
    max_depth: int | None
    min_samples_leaf: Any
    cv: Any
    max_levels: int
    tolerance: int
    delta: float
    scan: Any
    n_jobs: int | None
    random_state: Any

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
        for name, least in (("max_levels", 1), ("tolerance", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")
        rng = check_random_state(self.random_state)
        given = Given(X, y, groups)
        grains = self._scan_rows(rows, given, rng)
        folds = crossfit_folds(rows, self.cv, self._task, int(rng.randint(np.iinfo(np.int32).max)), given)
        forests = kinds(
            self._task,
            self.n_forests,
            self.n_trees,
            self.max_features,
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
        )
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

    def _scan_rows(self, rows: Rows, given: Given, rng: np.random.RandomState) -> list[np.ndarray]:
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
        return self.scan_._fit_rows(rows, given, self._task, self._n_outputs)

    @staticmethod
    def _augmented(grains: list[np.ndarray], level: int, vectors: np.ndarray | None) -> np.ndarray:
        """Return the features of a level: a grain in its turn, and the vectors of the level before."""
        grain = grains[level % len(grains)]
        return grain if vectors is None else np.hstack([grain, *vectors.astype(np.float32)])

    def _staged(self, X: Any) -> Iterator[np.ndarray]:
        check_is_fitted(self)
        X = check_inputs(self, X, reset=False, missing=True)
        grains = [X.reshape(len(X), -1)] if self.scan_ is None else self.scan_._grains_of(X)
        vectors = None
        for level, forests in enumerate(self.levels_):
            features = self._augmented(grains, level, vectors)
            vectors = predict_each(forests, features, self._n_outputs, self.n_jobs)
            yield vectors.mean(axis=0)

    def _last(self, X: Any) -> np.ndarray:
        *_, found = self._staged(X)
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        return tags
