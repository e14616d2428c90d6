"""Multi-grained scanning (Zhou and Feng, 2017): forests that look through windows of an image or a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target

from skfusion._rows import Rows
from skfusion.data import Original, crossfit_folds
from skfusion.forests._checked import OfArrays, check_counts
from skfusion.forests._layer import fit_crossfitted, kinds, predict_each


@dataclass(eq=False, repr=False)
class MultiGrainedScan(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OfArrays):
    r"""Describe images or sequences by the predictions of forests for each of their windows.

    A window slides over a sample; every patch is a row with the label of its sample. A random forest and a
    forest of completely random trees learn to predict the label from a patch, and the features of a sample are their
    class vectors at all places side by side. Each size of window is a *grain*:

    .. math:: 2 C \prod_a \lceil (\lfloor (s_a - w_a) / \text{stride} \rfloor + 1) / \text{pool} \rceil

    features for samples of shape :math:`s`, windows of shape :math:`w` and :math:`C` classes (or targets).

    Parameters
    ----------
    windows : sequence of int, float or tuple, default=(0.25, 0.5)
        One size a grain: an int is a number of entries along each axis of a sample, a float a share of the axis, up to
        1.0 for all of it; or a tuple with one of them an axis. The first axis of samples with three, the channels of an
        image, is taken whole, but where a tuple says otherwise. Smaller windows see finer details and cost more.
    stride : int, default=1
        Steps between windows along each axis. A larger one is cheaper.
    shape : tuple of int, optional
        What samples are reshaped to first: (8, 8) makes images of 64 columns, (3, 8, 8) images of 3 channels of 192.
        Without it flat rows are sequences, and windows are stretches of columns, even of the pixels of an image.
    pool : int, default=1
        Class vectors are averaged over blocks of that many places along each axis.
    n_trees : int, default=20
        Trees of a forest.
    max_depth : int or None, default=10
        Depth of the trees.
    min_samples_leaf : int or float, default=10
        Patches in a leaf.
    cv : int, splitter or iterable, default=3
        Folds of samples for the features of the samples that were fitted on. A number keeps equal samples in one fold;
        a splitter, or positions, divide the samples that are passed to ``fit`` as they say.
    n_jobs : int, optional
        Fits at a time; the result does not depend on it. When omitted, the ``n_jobs`` of the deep forest that scans.
    random_state : int, RandomState or None, default=None
        Seed of folds and forests.

    Attributes
    ----------
    windows_ : list of tuple of int
        Shape of each window.
    grid_ : list of tuple of int
        Places of each window along each axis, before pooling.
    forests_ : list of list of sklearn forest
        Two for each window, fitted on all patches.
    n_features_out_ : list of int
        Features of each grain.

    Notes
    -----
    As in :class:`sklearn.preprocessing.TargetEncoder`, ``fit_transform(X, y)`` is not ``fit(X, y).transform(X)``: it
    describes each sample by forests that were fitted without it, as a learner on top needs it. A scan costs ``2 * (cv +
    1)`` forests a window, on as many rows as there are patches.

    References
    ----------
    Zhou and Feng, "Deep forest: towards an alternative to deep neural networks", IJCAI 2017, arXiv:1702.08835.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.forests import MultiGrainedScan
    >>> X = np.random.default_rng(0).normal(size=(60, 8, 8))
    >>> y = (X[:, :4].mean(axis=(1, 2)) > 0).astype(int)
    >>> scan = MultiGrainedScan(windows=(4, 6), stride=2, random_state=0)
    >>> scan.fit_transform(X, y).shape  # 2 classes, 2 forests, and 3 * 3 and 2 * 2 places
    (60, 52)

    Rows of pixels are images only where ``shape`` says so:

    >>> scan.set_params(shape=(8, 8)).fit(X.reshape(60, 64), y).grid_
    [(3, 3), (2, 2)]
    >>> scan.set_params(shape=None).fit(X.reshape(60, 64), y).grid_
    [(31,), (30,)]
    """

    windows: Sequence[Any] = (0.25, 0.5)
    stride: int = 1
    shape: tuple[int, ...] | None = None
    pool: int = 1
    n_trees: int = 20
    max_depth: int | None = 10
    min_samples_leaf: int | float = 10
    cv: Any = 3
    n_jobs: int | None = None
    random_state: Any = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> MultiGrainedScan:
        """Fit the forests of each window.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Sequences of shape (length,), images of shape (height, width) or (channels, height, width), or what
            ``shape`` makes of them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels; or values, where they are not whole numbers.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights. Whole numbers are repetitions of the sample.
        groups : array-like of shape (n_samples,), optional
            Samples of one group are in one fold.

        Returns
        -------
        MultiGrainedScan
            This object.
        """
        self.fit_transform(X, y, sample_weight, groups)
        return self

    def fit_transform(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> np.ndarray:
        """Fit, and describe each sample by forests that were fitted without it; see :meth:`fit`.

        Return features of shape (n_samples, n_features_out), float32, grain by grain; for a sample of weight zero those
        of ``transform``.
        """
        original = Original(X, y, groups)
        values = y is not None and type_of_target(np.asarray(y), input_name="y").startswith("continuous")
        X, y = self._checked(X, y, reset=True, numeric=values)
        expanded = self._encoded(X, y, sample_weight, groups, not values).expanded()
        features = np.hstack(self._fit_rows(expanded, original, self._n_outputs))
        if expanded.position is None:
            return features
        whole = len(np.unique(expanded.position)) == len(X)
        out = np.empty((len(X), features.shape[1]), np.float32) if whole else np.hstack(self._grains_of(X))
        out[expanded.position] = features
        return out

    def transform(self, X: Any) -> np.ndarray:
        """Describe samples by the forests that were fitted on all patches.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples, as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            Features, float32, grain by grain.
        """
        return np.hstack(self._grains_of(self._inputs(X)))

    def _fit_rows(self, rows: Rows, original: Original, n_outputs: int) -> list[np.ndarray]:
        """Fit on rows as they are, and return the cross-fitted features of each grain."""
        rng = check_random_state(self.random_state)
        folds = crossfit_folds(rows, self.cv, rows.task, int(rng.randint(np.iinfo(np.int32).max)), original)
        sample = rows.X.shape[1:] if self.shape is None else self._shaped(rows.X).shape[1:]
        self.windows_ = [_window(size, sample) for size in _listed(self.windows)]
        check_counts(self, stride=1, pool=1, n_trees=1)
        self._n_outputs = n_outputs
        self.forests_, self.grid_, grains = [], [], []
        trees = {"max_depth": self.max_depth, "min_samples_leaf": self.min_samples_leaf}
        for window in self.windows_:
            patches, grid = self._patches(rows.X, window)
            at = int(np.prod(grid))
            repeated = Rows(patches, rows.y.repeat(at, axis=0), None if rows.weight is None else rows.weight.repeat(at))
            forests = kinds(rows.task, 1, self.n_trees, "sqrt", **trees)
            parts = [(_places(train, at), _places(test, at)) for train, test in folds]
            fitted, vectors = fit_crossfitted(forests, patches, repeated, parts, n_outputs, rng, self.n_jobs)
            self.forests_.append(fitted)
            self.grid_.append(grid)
            grains.append(self._features(vectors, grid))
        self.n_features_out_ = [grain.shape[1] for grain in grains]
        return grains

    def _grains_of(self, X: np.ndarray) -> list[np.ndarray]:
        grains = []
        for window, grid, forests in zip(self.windows_, self.grid_, self.forests_, strict=True):
            vectors = predict_each(forests, self._patches(X, window)[0], self._n_outputs, self.n_jobs)
            grains.append(self._features(vectors, grid))
        return grains

    def _shaped(self, X: np.ndarray) -> np.ndarray:
        if self.shape is None:
            return X
        shape, n = tuple(np.atleast_1d(self.shape).tolist()), int(np.prod(X.shape[1:]))
        if not all(isinstance(one, int) and one >= 1 for one in shape):
            raise ValueError(f"shape must hold whole numbers of at least 1, such as (8, 8); got {self.shape!r}.")
        if int(np.prod(shape)) != n:
            raise ValueError(f"shape={shape} has {int(np.prod(shape))} numbers, but a sample of X has {n}.")
        return X.reshape(len(X), *shape)

    def _patches(self, X: np.ndarray, window: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return all patches, sample by sample, shape (n_samples * n_places, size), and the places along each axis."""
        X = self._shaped(X)
        axes = tuple(range(1, X.ndim))
        taken = (slice(None), *(slice(None, None, self.stride) for _ in axes))
        views = sliding_window_view(X, window, axis=axes)[taken]
        return views.reshape(-1, int(np.prod(window))), views.shape[1 : X.ndim]

    def _features(self, vectors: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
        """Return pooled vectors, (n_forests, n_samples * n_places, n_outputs) -> (n_samples, n_features)."""
        at_places = vectors.reshape(len(vectors), -1, *grid, vectors.shape[-1])
        for axis, n in enumerate(grid, start=2):
            starts = np.arange(0, n, self.pool)
            sizes = np.diff([*starts, n]).reshape(-1, *[1] * (at_places.ndim - axis - 1))
            at_places = np.add.reduceat(at_places, starts, axis=axis) / sizes
        return np.moveaxis(at_places, 0, 1).reshape(at_places.shape[1], -1).astype(np.float32)

    @property
    def _n_features_out(self) -> int:
        return sum(self.n_features_out_)  # which scikit-learn numbers in get_feature_names_out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32, which trees work in
        return tags


def _listed(windows: Any) -> list[Any]:
    sizes = [windows] if isinstance(windows, Real) else list(windows)
    if not sizes:
        raise ValueError("windows is empty: give at least one size, such as windows=(0.25,).")
    return sizes


def _window(size: Any, sample: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a window for samples of a shape."""
    if isinstance(size, (Sequence, np.ndarray)) and not isinstance(size, str):
        sizes = list(size)
    else:
        sizes = [sample[0], size, size] if len(sample) == 3 else [size] * len(sample)
    if len(sizes) != len(sample):
        raise ValueError(f"The window {size!r} has {len(sizes)} axes, but a sample of X has shape {sample}.")
    shape = []
    for one, n in zip(sizes, sample, strict=True):
        whole = isinstance(one, Integral)
        if isinstance(one, bool) or not isinstance(one, Real) or not (1 <= one <= n if whole else 0 < one <= 1):
            channels = " Images come as (channels, height, width)." if len(sample) == 3 else ""
            raise ValueError(
                f"The window {size!r} does not fit samples of shape {sample}: along each axis it is an int from 1 to "
                f"its length, or a float, which is a share of it, above 0 and at most 1.0.{channels}"
            )
        shape.append(int(one) if whole else max(1, round(float(one) * n)))
    return tuple(shape)


def _places(samples: np.ndarray, n_places: int) -> np.ndarray:
    """Return the positions of the patches of some samples."""
    return (samples[:, None] * n_places + np.arange(n_places)).ravel()
