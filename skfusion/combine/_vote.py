"""Plurality vote (Hansen and Salamon, 1990)."""

from __future__ import annotations

import numpy as np

from skfusion.combine._base import Combiner
from skfusion.combine._weights import floating
from skfusion.rows import Task


class Vote(Combiner):
    r"""Let every member vote for its most probable class.

    .. math:: p_c(x) = \frac{1}{K} \sum_k \mathbf{1}\left[c = \arg\max_{c'} p_{k c'}(x)\right]

    A tie goes to the first of the tied classes. With several labels a row, each label is voted on by itself.

    Notes
    -----
    Costs O(K n) for K members and n predictions. Votes ignore how sure the members are, so miscalibrated ones do no
    more harm than others, and the vote shares are coarse as probabilities.

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

    def check(self, task: Task) -> None:
        """Raise ``ValueError`` for regression; see :meth:`Combiner.check`."""
        if task == "regression":
            raise ValueError("Vote needs classes; for regression use combine=Average().")

    def fit(self, P: np.ndarray, y: np.ndarray, task: Task, sample_weight: np.ndarray | None = None) -> Vote:
        """Remember whether classes exclude each other; see :meth:`Combiner.fit`."""
        self.check(task)
        self.task_ = task
        return self

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the share of the votes for each class; see :meth:`Combiner.__call__`."""
        if getattr(self, "task_", "classification") == "multilabel":
            return (P > 0.5).mean(axis=0, dtype=floating(P))
        votes = np.eye(P.shape[2], dtype=floating(P))[P.argmax(axis=2)]
        return votes.mean(axis=0)
