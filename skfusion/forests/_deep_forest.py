"""Deep forests (gcForest; Zhou and Feng, 2017): a cascade of forests that read what the level before predicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._readable import HasParts
from skfusion._rows import Rows, Task
from skfusion.data import Original, PredictsClasses, PredictsValues, crossfit_folds, default_score
from skfusion.forests._checked import OfArrays, check_counts
from skfusion.forests._layer import fit_crossfitted, kinds, predict_each
from skfusion.forests._scan import MultiGrainedScan


@template
@dataclass(eq=False, repr=False)
class Cascade(HasParts, OfArrays):
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
        classify = self._task == "classification"
        rows = self._encoded(*self._checked(X, y, reset=True), sample_weight, groups, classify).expanded()
        check_counts(self, max_levels=1, tolerance=1, n_forests=1, n_trees=1)
        rng = check_random_state(self.random_state)
        original = Original(X, y, groups)
        grains = self._scan_rows(rows, original, rng)
        folds = crossfit_folds(rows, self.cv, self._task, int(rng.randint(np.iinfo(np.int32).max)), original)
        trees = {"max_depth": self.max_depth, "min_samples_leaf": self.min_samples_leaf}
        forests = kinds(self._task, self.n_forests, self.n_trees, self.max_features, **trees)
        score = default_score(self._task)
        levels: list[list[Any]] = []
        scores: list[float] = []
        best, best_score, vectors = 0, -np.inf, None
        for level in range(self.max_levels):
            features = self._augmented(grains, level, vectors)
            fitted, vectors = fit_crossfitted(forests, features, rows, folds, self._n_outputs, rng, self.n_jobs)
            levels.append(fitted)
            scores.append(score(vectors.mean(axis=0), rows))
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
        return self.scan_._fit_rows(rows, original, self._n_outputs)

    @staticmethod
    def _augmented(grains: list[np.ndarray], level: int, vectors: np.ndarray | None) -> np.ndarray:
        """Return the features of a level: a grain in its turn, and the vectors of the level before."""
        grain = grains[level % len(grains)]
        return grain if vectors is None else np.hstack([grain, *vectors.astype(np.float32)])

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

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predict values by each level in turn; see :meth:`predict`.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values of the next level.
        """
        for values in self._staged(self._inputs(X)):
            yield values[:, 0] if self._flat else values
