"""LEEP, the log expected empirical prediction (Nguyen et al., 2020)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._labelled import Labelled


class LEEP(Transferability):
    r"""Rank models by the likelihood of the labels given the classes that they predict (LEEP).

    .. math:: \frac{1}{n} \sum_i \log \sum_z \hat P(y_i \mid z)\, \theta(x_i)_z, \qquad
        \hat P(y \mid z) = \frac{\sum_{i: y_i = y} \theta(x_i)_z}{\sum_i \theta(x_i)_z}

    where :math:`\theta(x)_z` is the probability that the model gives to its own class z. It is at most 0, which a
    model reaches that is certain, and whose classes determine the label.

    Parameters
    ----------
    n_members : int, default=1
        How many of the best models to choose, equally weighted.

    Notes
    -----
    Costs O(n Z C) for n rows, Z classes of the model and C classes of the task. The classes of the model may be any,
    and no label map is needed. The table of :math:`\hat P` is estimated on the rows that it is judged by: with few rows
    models of many classes are overrated.

    References
    ----------
    Nguyen, Hassner, Seeger and Archambeau, "LEEP: a new measure to evaluate transferability of learned
    representations", ICML 2020, arXiv:2002.12462.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.reuse import LEEP
    >>> y = np.array([0, 0, 1, 1])
    >>> certain = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    >>> round(LEEP().score(certain, y), 3), round(LEEP().score(np.full((4, 3), 1 / 3), y), 3)
    (0.0, -0.693)
    """

    reads: ClassVar[Literal["features", "predictions"]] = "predictions"

    def _score(self, rows: Labelled) -> float:
        theta = probabilities(rows.outputs)
        joint = rows.class_sums(rows.weight[:, None] * theta)
        predicted = joint.sum(axis=0) > 0  # a class that is never thought of tells nothing
        conditional = joint[:, predicted] / joint[:, predicted].sum(axis=0)
        likelihood = (theta[:, predicted] * conditional[rows.targets]).sum(axis=1)
        return float(rows.weight @ np.log(np.minimum(likelihood, 1)) / rows.total)


def probabilities(theta: np.ndarray) -> np.ndarray:
    """Return rows that sum to one, or raise where they are no probabilities."""
    sums = theta.sum(axis=1, keepdims=True)
    if (theta < 0).any() or (abs(sums - 1) > 1e-3).any():
        worst = int(np.maximum(abs(sums[:, 0] - 1), -theta.min(axis=1)).argmax())
        raise ValueError(
            f"LEEP reads probabilities of classes; row {worst} holds {theta[worst].round(3).tolist()[:5]}, with the "
            f"sum {sums[worst, 0]:.3g}. For other values take NCE, which reads which is the largest, or LogME."
        )
    return theta / sums
