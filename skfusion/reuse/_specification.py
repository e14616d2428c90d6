"""Specifications of models: reduced kernel mean embeddings of their training inputs (RKME; Wu et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion.data import for_estimator
from skfusion.reuse._kernel import inner, kernel, median_gamma, noise_quantile
from skfusion.reuse._reduce import reduced

MOST_ROWS = 5000
"""Rows that an embedding is computed of; of more, so many are drawn."""

_LEVEL = 0.975
"""Of the quantile in ``noise_``; those of provider and user together are then exceeded in at most 5 % of cases."""


class Specification(BaseEstimator):
    r"""What a provider publishes of the training inputs of a model: a few weighted points (RKME).

    The points :math:`z_m` and the weights :math:`\beta_m`, on the simplex, are those whose kernel mean embedding comes
    closest to that of the n rows:

    .. math:: \min_{Z, \beta} \Big\| \frac1n \sum_i k(x_i, \cdot) - \sum_m \beta_m k(z_m, \cdot) \Big\|^2, \qquad
        k(x, z) = e^{-\gamma \|x - z\|^2}

    They begin at the centres of k-means; then an exact quadratic program for the weights and descent on the points
    alternate, and the distance never grows.

    Parameters
    ----------
    n_points : int, default=100
        Points to publish; more describe the rows better and reveal more of them. They are at most two thirds of the
        different rows. None publishes the rows themselves.
    gamma : float, optional
        Of the kernel; a larger one sees smaller details. The median heuristic when omitted, ``1 / (2 m^2)`` with the
        median distance m of the rows. Specifications can be compared where it is the same: pools ask for theirs, which
        is ``ReusePool.gamma``.
    n_rounds : int, default=3
        Rounds of descent on the points, ten steps each; 0 leaves the centres where they are.
    transform : callable or fitted transformer, optional
        What is embedded in the place of the inputs, such as the scaled columns of a table, or features of images, in
        which distances mean more than between pixels. Everyone who compares specifications must use the same one.
    random_state : int, RandomState or None, default=0
        Of k-means, of the rows that are drawn, and of the bootstrap.

    Attributes
    ----------
    points_ : ndarray of shape (n_points, n_features)
        The points, of flattened inputs.
    weights_ : ndarray of shape (n_points,)
        Their weights, of sum one.
    gamma_ : float
        That of the kernel.
    error_ : float
        The distance from the embedding of the rows.
    noise_ : float
        A bound for the distance of the embedding of the rows, at most 5 000, from that of what they were drawn from,
        which holds in 97.5 % of cases, by the bootstrap.
    n_rows_ : int
        How many rows it is of.
    history_ : list of float
        The distance after k-means, and after each round.
    transform_name_ : str or None
        How the transform is called.

    Notes
    -----
    Inputs of more axes are flattened. Of more than 5 000 rows, 5 000 are drawn. The cost is n times M times d a step,
    and M^3 for the weights. The gradient of the squared distance is

    .. math:: -4 \gamma \beta_m \Big[ \sum_j \beta_j k(z_m, z_j) (z_m - z_j) - \frac1n \sum_i k(z_m, x_i) (z_m - x_i)
        \Big]

    A specification says nothing of labels, but does not hide what rows look like: with more than about one point for 25
    rows, points come close to training rows, and tell who was one. The guide has measurements.

    References
    ----------
    Smola, Gretton, Song and Scholkopf, "A Hilbert space embedding for distributions", ALT 2007,
    doi:10.1007/978-3-540-75225-7_5. Wu, Xu, Liu and Zhou, "Model reuse with reduced kernel mean embedding
    specification", IEEE TKDE 35, 2023, doi:10.1109/TKDE.2021.3086619.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skfusion.reuse import Specification
    >>> X, y = load_digits(return_X_y=True)
    >>> low = Specification(20).fit(X[y < 5])
    >>> high = Specification(20, gamma=low.gamma_).fit(X[y >= 5])
    >>> low.mmd(X[y < 5][:100]) < high.mmd(X[y < 5][:100])
    True
    """

    points_: np.ndarray
    weights_: np.ndarray
    gamma_: float
    error_: float
    noise_: float
    n_rows_: int

    def __init__(
        self,
        n_points: int | None = 100,
        gamma: float | None = None,
        n_rounds: int = 3,
        transform: Any = None,
        random_state: Any = 0,
    ):
        self.n_points = n_points
        self.gamma = gamma
        self.n_rounds = n_rounds
        self.transform = transform
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the points and weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Training inputs of the model.
        y : None
            Not used.

        Returns
        -------
        Specification
            This object, fitted.
        """
        self._check_params()
        X = embedded(X, self.transform)
        rng = check_random_state(self.random_state)
        self.n_rows_, self.n_features_in_ = X.shape
        self.transform_name_ = name_of(self.transform)
        if len(X) > MOST_ROWS:
            X = X[np.sort(rng.choice(len(X), MOST_ROWS, replace=False))]
        self.gamma_ = median_gamma(X, rng) if self.gamma is None else float(self.gamma)
        gram = kernel(X, X, self.gamma_)
        self.noise_ = noise_quantile(gram, _LEVEL, rng)
        if self.n_points is None:
            self.points_, self.weights_ = X, np.full(len(X), 1 / len(X))
            self.history_ = [0.0]
        else:
            n_points = min(self.n_points, max(1, 2 * len(np.unique(X, axis=0)) // 3))
            found = reduced(X, n_points, self.gamma_, self.n_rounds, float(gram.mean()), rng)
            self.points_, self.weights_, self.history_ = found
        self.error_ = self.history_[-1]
        return self

    def _check_params(self) -> None:
        whole = self.n_points is None or (isinstance(self.n_points, Integral) and self.n_points >= 1)
        if not whole:
            raise ValueError(f"n_points must be a whole number of at least 1, or None; got {self.n_points!r}.")
        if self.gamma is not None and not (np.isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"gamma must be positive, or None for the median heuristic; got {self.gamma!r}.")
        if not isinstance(self.n_rounds, Integral) or self.n_rounds < 0:
            raise ValueError(f"n_rounds must be a whole number of at least 0; got {self.n_rounds!r}.")

    def mmd(self, other: Any) -> float:
        """Return the maximum mean discrepancy: the distance between two embeddings.

        Parameters
        ----------
        other : Specification or array-like of shape (n_samples, ...)
            Another specification, of the same ``gamma`` and transform, or rows.

        Returns
        -------
        float
            Zero where they are equal; at most the square root of 2.
        """
        other = self.of_rows(other) if not isinstance(other, Specification) else other
        check_comparable(self, other)
        square = self.inner(self) - 2 * self.inner(other) + other.inner(other)
        return float(np.sqrt(max(0.0, square)))

    def inner(self, other: Specification) -> float:
        """Return the inner product with the embedding of another specification; see :meth:`mmd`."""
        check_is_fitted(self)
        check_is_fitted(other)
        return inner(self.points_, self.weights_, other.points_, other.weights_, self.gamma_)

    def of_rows(self, X: Any) -> Specification:
        """Return the specification that rows are by themselves, to compare with this one.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Inputs; of more than 5 000 rows, 5 000 are drawn.

        Returns
        -------
        Specification
            With a point for each row.
        """
        check_is_fitted(self)
        if self.transform is None and self.transform_name_ is not None:
            raise ValueError(
                f"This specification is of inputs that were transformed by {self.transform_name_}, which is not stored "
                "with it. Give it again: ReusePool.load(path, transform=...)."
            )
        rows = Specification(None, self.gamma_, transform=self.transform, random_state=self.random_state).fit(X)
        check_comparable(self, rows)
        return rows

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "points_")


def embedded(X: Any, transform: Any = None) -> np.ndarray:
    """Return what is embedded of inputs: flattened float64 rows, of what the transform makes of them."""
    if transform is not None:
        fitted = hasattr(transform, "transform")
        X = transform.transform(for_estimator(transform, X)) if fitted else transform(X)
    if isinstance(X, Mapping) and not issparse(X):
        raise TypeError(
            "A specification describes rows of one array, and X is a dict. Give transform=, a function that makes one "
            "array of the dict, such as lambda X: X['image']."
        )
    array = np.asarray(X.toarray() if issparse(X) else X)
    if array.ndim < 2:
        raise ValueError(f"X must have an axis of rows and at least one more; got the shape {array.shape}.")
    flat: np.ndarray = check_array(
        array.reshape(len(array), int(np.prod(array.shape[1:]))), dtype=np.float64, input_name="X"
    )
    return flat


def name_of(transform: Any) -> str | None:
    """Return how a transform is called."""
    return None if transform is None else str(getattr(transform, "__name__", type(transform).__name__))


def check_comparable(first: Specification, second: Specification) -> None:
    """Raise ``ValueError`` where embeddings are of other kernels, features or transforms."""
    for specification in (first, second):
        check_is_fitted(specification)
    if not np.isclose(first.gamma_, second.gamma_, rtol=1e-9):
        raise ValueError(
            f"The specifications have gamma {first.gamma_:.6g} and {second.gamma_:.6g}: distances of different kernels "
            f"cannot be compared. Make the second one again by Specification(gamma={first.gamma_!r})."
        )
    if first.points_.shape[1] != second.points_.shape[1]:
        raise ValueError(
            f"The specifications are of {first.points_.shape[1]} and {second.points_.shape[1]} features: they describe "
            "different inputs, or were made with different transforms."
        )
    if first.transform_name_ != second.transform_name_:
        raise ValueError(
            f"The specifications were made with the transforms {first.transform_name_} and {second.transform_name_}. "
            "Give all of them the same transform=."
        )
