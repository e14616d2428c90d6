"""Plurality (majority) vote (Hansen and Salamon, 1990)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from skfusion.combine._predictions import floating
from skfusion.combine._weights import GivenWeights


class Vote(GivenWeights):
    r"""Let every member vote for its most probable class.

    .. math:: p_c(x) = \sum_k \lambda_k \mathbf{1}\left[c = \arg\max_{c'} p_{k c'}(x)\right],
        \qquad \sum_k \lambda_k = 1

    A tie goes to the first of the tied classes. With several labels a row, each label is voted on by itself.

    Parameters
    ----------
    weights : sequence of float, optional
        Non-negative weight of each member's vote, shape (n_members,); divided by their sum. A larger one outvotes more
        of the others. All are equal when omitted.

    Attributes
    ----------
    task_ : {"classification", "multilabel"}
        What is combined.

    Notes
    -----
    Costs O(K n) for K members and n predictions. Votes ignore how confident the members are, so
    miscalibrated ones do no more harm than others, and the vote shares are coarse as probabilities.

    References
    ----------
    Hansen and Salamon, "Neural network ensembles", IEEE TPAMI 12, 1990, doi:10.1109/34.58871.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import Vote
    >>> P = np.array([[[0.9, 0.1]], [[0.4, 0.6]], [[0.3, 0.7]], [[0.2, 0.8]]])
    >>> Vote().fit(P, np.array([1]), "classification")(P).tolist()
    [[0.25, 0.75]]
    """

    needs: ClassVar[str] = "classes"

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the share of the votes for each class; see :meth:`Combiner.__call__`."""
        several = getattr(self, "task_", "classification") == "multilabel"
        votes = P > 0.5 if several else np.eye(P.shape[2], dtype=np.bool_)[P.argmax(axis=2)]
        if self.weights is None:
            return votes.mean(axis=0, dtype=floating(P))
        self._shares(len(P))  # raises for another number of members
        weights = np.asarray(self.weights, np.float64)
        total = np.zeros(votes.shape[1:])
        for weight, vote in zip(weights, votes, strict=True):  # one after another, so that equal sums are rounded alike
            total += weight * vote
        return (total / weights.sum()).astype(floating(P), copy=False)
