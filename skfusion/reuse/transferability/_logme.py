"""LogME, the logarithm of maximum evidence (You et al., 2021)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar

from skfusion._rows import Task
from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._labelled import Labelled

EXACT = 1e-10
"""Least share of the squares of y that counts as noise: features that give y exactly have an unbounded evidence."""


class LogME(Transferability):
    r"""Rank models by the evidence of a linear model on their features (LogME).

    .. math:: \frac{1}{n} \max_{\alpha, \beta} \log \int p(y \mid F, w, \beta)\, p(w \mid \alpha)\, dw

    where :math:`y \mid w \sim N(F w, \beta^{-1} I)` and :math:`w \sim N(0, \alpha^{-1} I)`; the mean over the classes,
    each against the others, or over the outputs of a regression.

    Parameters
    ----------
    n_members : int, default=1
        How many of the best models to choose, equally weighted.

    Notes
    -----
    Costs one singular value decomposition, O(n d min(n, d)) for n rows and d features, and then little per class. More
    features than rows are no obstacle: in contrast to the fit of a linear model, the evidence does not reward what
    fits by chance, so it is the score to take with few labels.

    For a given ratio :math:`t = \alpha / \beta` the best :math:`\beta` is known, so that one number is left to search
    for, and that is done on a grid, and refined. The iteration of the paper finds a stationary point of the same
    function, and may stop far from it. There is no intercept, as in the paper. Where the features give y exactly and
    the evidence has no bound, y is taken to have noise of :math:`10^{-5}` of its size.

    References
    ----------
    You, Liu, Wang and Long, "LogME: practical assessment of pre-trained models for transfer learning", ICML 2021,
    arXiv:2102.11005.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.reuse import LogME
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 20)
    >>> noise = rng.normal(size=(40, 3))
    >>> knows = np.column_stack([noise, y + 0.1 * rng.normal(size=40)])
    >>> LogME().score(knows, y) > LogME().score(noise, y)
    True
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression", "multilabel")

    def _score(self, rows: Labelled) -> float:
        targets = rows.targets
        if targets.ndim == 1:
            targets = np.eye(targets.max() + 1)[targets]
        return float(np.mean(evidences(rows, targets)))


def evidences(rows: Labelled, targets: np.ndarray) -> np.ndarray:
    """Return the largest log-evidence a row of each column of ``targets``, shape (n, q)."""
    U, s, _ = rows.singular(rows.outputs)
    weighted = np.sqrt(rows.weight)[:, None] * targets
    squares = (weighted**2).sum(axis=0)
    projected = (U.T @ weighted) ** 2
    outside = squares - projected.sum(axis=0)
    if len(s) == len(weighted) == rows.total:  # as many features as rows
        outside = np.zeros_like(squares)
    else:
        outside = np.maximum(outside, EXACT * squares)
    found = [largest_evidence(s**2, z, r, rows.total) for z, r in zip(projected.T, outside, strict=True)]
    return np.array(found) / rows.total


def largest_evidence(values: np.ndarray, projected: np.ndarray, outside: float, n: float) -> float:
    r"""Return :math:`\max_t` of the log-evidence at the best :math:`\beta`, which is :math:`n / Q(t)`.

    With the eigenvalues :math:`\sigma_i` of :math:`F^\top F` and the squares :math:`z_i^2` of y along the left singular
    vectors, :math:`Q(t) = r + \sum_i z_i^2 t / (t + \sigma_i)`, where r is what no feature explains, and

    .. math:: -\frac{n}{2} \log \frac{2 \pi e\, Q(t)}{n} + \frac{1}{2} \sum_i \log \frac{t}{t + \sigma_i}
    """

    def evidence(log_t: np.ndarray) -> np.ndarray:
        shrunk = 1 / (1 + values[:, None] * np.exp(-np.atleast_1d(log_t)))  # t / (t + sigma)
        Q = outside + projected @ shrunk
        return -n / 2 * np.log(2 * np.pi * np.e * Q / n) + np.log(shrunk).sum(axis=0) / 2

    limits = [-n / 2 * np.log(2 * np.pi * np.e * (outside + projected.sum()) / n)]  # t without end: all weights are 0
    if not len(values):
        return float(limits[0])
    if outside == 0:  # t of 0: no noise
        limits.append(-n / 2 * np.log(2 * np.pi * np.e * (projected / values).sum() / n) - np.log(values).sum() / 2)
    grid = np.arange(np.log(values.min()) - 30, np.log(values.max()) + 30, 0.5)
    best = grid[evidence(grid).argmax()]
    fine = minimize_scalar(
        lambda t: -evidence(t)[0], bounds=(best - 0.5, best + 0.5), method="bounded", options={"xatol": 1e-7}
    )
    return float(max(-fine.fun, *limits))
