"""Averaged logits: the product of experts (Hinton, 2002; Hansen and Salamon, 1990)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import log_softmax

from skfusion._rows import Task
from skfusion.combine._predictions import check_fitted, floating, from_logs, logs
from skfusion.combine._weights import GivenWeights


class GeometricAverage(GivenWeights):
    r"""Average the members' log-probabilities, which is to average their logits.

    .. math:: p_c(x) = \frac{\prod_k p_{kc}(x)^{\lambda_k}}{\sum_{c'} \prod_k p_{kc'}(x)^{\lambda_k}},
        \qquad \sum_k \lambda_k = 1

    Of labels, which do not exclude each other, the log-odds are averaged. An ensemble of networks averages the logits
    themselves. The combiner by itself gets probabilities, of which one below the rounding error of its dtype (1.2e-7
    for float32) counts as that error, so that a member whose logits are farther apart than 16 counts as one with 16.

    Parameters
    ----------
    weights : sequence of float, optional
        Non-negative importance of each member, shape (n_members,); divided by their sum. A larger value pulls the
        prediction towards that member. All are equal when omitted.

    Attributes
    ----------
    task_ : {"classification", "multilabel"}
        What is combined.

    Notes
    -----
    Costs O(K n) logarithms for K members and n predictions. A member that is certain that a class is wrong
    nearly rules it out, which the mean of probabilities does not allow. The log-loss is never worse than the members'
    mean.

    References
    ----------
    Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14, 2002,
    doi:10.1162/089976602760128018. Hansen and Salamon, "Neural network ensembles", IEEE TPAMI 12, 1990,
    doi:10.1109/34.58871.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import GeometricAverage
    >>> P = np.array([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> GeometricAverage().fit(P, np.array([0]), "classification")(P).round(2).tolist()
    [[0.75, 0.25]]
    """

    by_logs: ClassVar[bool] = True
    needs: ClassVar[str] = "probabilities"

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the normalised geometric mean over members; see :meth:`Combiner.__call__`."""
        check_fitted(self, "task_")
        return from_logs(self._mean(logs(P, self.task_)), self.task_).astype(floating(P), copy=False)

    def of_logs(self, logs: np.ndarray, task: Task) -> np.ndarray:
        """Return the mean of the logarithms, normalised over classes; see :meth:`Combiner.of_logs`."""
        mean = self._mean(logs)
        return mean if task == "multilabel" else log_softmax(mean, axis=-1)

    def _mean(self, logs: np.ndarray) -> np.ndarray:
        weights = self._shares(len(logs))
        used = np.flatnonzero(weights)  # members of weight zero are not read
        return np.tensordot(weights[used], logs[used], axes=1)
