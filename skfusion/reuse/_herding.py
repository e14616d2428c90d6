"""Kernel herding: rows that stand for a specification, so that a classifier may learn to tell models apart by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.svm import SVC
from sklearn.utils import check_array

from skfusion.data import seeded
from skfusion.reuse._kernel import kernel, means
from skfusion.reuse._specification import Specification, embedded


def herd(specification: Specification, n_samples: int, candidates: Any = None) -> np.ndarray:
    r"""Return rows whose plain mean embedding approaches that of a specification as fast as one over their number.

    .. math:: x_{t+1} = \operatorname{arg\,max}_x \; (t + 1) \langle \mu, k(x, \cdot) \rangle
        - \sum_{s \le t} k(x_s, x)

    Parameters
    ----------
    specification : Specification
        What the rows are to stand for, fitted.
    n_samples : int
        How many rows; with more, their mean is closer.
    candidates : array-like of shape (n_candidates, n_features), optional
        The rows to choose from, as they are embedded; the points of the specification when omitted. One may be chosen
        several times.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        The rows, in the order in which they are chosen: each beginning of them is a herd too.

    References
    ----------
    Chen, Welling and Smola, "Super-samples from kernel herding", UAI 2010, arXiv:1203.3472.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.reuse import Specification, herd
    >>> X = np.random.RandomState(0).normal(size=(200, 2))
    >>> spec = Specification(20).fit(X)
    >>> near, nearer = (spec.mmd(herd(spec, n)) for n in (10, 100))
    >>> nearer < near / 3
    True
    """
    rows = specification.points_ if candidates is None else check_array(candidates, dtype=np.float64)
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1; got {n_samples!r}.")
    wanted = means(rows, specification.points_, specification.weights_, specification.gamma_)
    chosen, taken = np.empty(n_samples, np.int64), np.zeros(len(rows))
    for t in range(n_samples):
        chosen[t] = int(np.argmax((t + 1) * wanted - taken))
        taken += kernel(rows, rows[chosen[t : t + 1]], specification.gamma_)[:, 0]
    herded: np.ndarray = rows[chosen]
    return herded


def selector(
    specifications: list[Specification], weights: np.ndarray, classifier: Any, n_herded: int, seed: int
) -> Any:
    """Return a classifier of which specification a row belongs to, fitted on rows herded from each by its weight."""
    counts = np.maximum(1, np.round(n_herded * weights).astype(int))
    rows = [herd(spec, int(n)) for spec, n in zip(specifications, counts, strict=True)]
    codes = np.repeat(np.arange(len(counts)), counts)
    model = SVC(gamma=specifications[0].gamma_, C=10.0) if classifier is None else classifier
    return seeded(clone(model), seed).fit(np.concatenate(rows), codes)


def routed(fitted: Any, specification: Specification, X: Any) -> np.ndarray:
    """Return the place of the specification that each row belongs to, shape (n_samples,)."""
    places: np.ndarray = np.asarray(fitted.predict(embedded(X, specification.transform)), np.int64)
    return places
