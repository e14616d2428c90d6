"""Averaged predictions: deep ensembles (Hansen and Salamon, 1990; Lakshminarayanan et al., 2017)."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from skfusion._rows import Task
from skfusion.combine._weights import GivenWeights, weighted_sum


class Average(GivenWeights):
    r"""Average the members' probabilities or values.

    .. math:: p(x) = \sum_k \lambda_k p_k(x), \qquad \sum_k \lambda_k = 1

    Parameters
    ----------
    weights : sequence of float, optional
        Non-negative importance of each member, shape (n_members,); divided by their sum. A larger value pulls the
        prediction towards that member. All are equal when omitted.

    Attributes
    ----------
    task_ : {"classification", "multilabel", "regression"}
        What is combined.

    Notes
    -----
    Costs O(K n) for K members and n predictions. The log-loss, the Brier score and the squared error of the
    average are never worse than the members' mean (Jensen's inequality).

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", NeurIPS 2017, arXiv:1612.01474.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import Average
    >>> P = np.array([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> Average()(P).round(2).tolist()
    [[0.7, 0.3]]
    """

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the (weighted) mean over members; see :meth:`Combiner.__call__`."""
        if self.weights is None:
            return P.mean(axis=0)
        return weighted_sum(self._shares(len(P)), P)

    def of_logs(self, logs: np.ndarray, task: Task) -> np.ndarray | None:
        """Return the logarithm of the mean probability of classes; see :meth:`Combiner.of_logs`."""
        if task == "multilabel":
            return None
        return logsumexp(logs, axis=0, b=self._shares(len(logs))[:, None, None])
