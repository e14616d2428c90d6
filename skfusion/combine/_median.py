"""The median of predictions (Kittler et al., 1998)."""

from __future__ import annotations

import numpy as np

from skfusion.combine._base import Combiner
from skfusion.combine._predictions import check_fitted, floating


class Median(Combiner):
    r"""Take the median of the members' probabilities or values, output by output.

    .. math:: f(x) = \operatorname{median}_k f_k(x)

    Medians of class probabilities are divided by their sum. Where all of them are zero, as when members are certain of
    different classes, the mean of the members is taken instead.

    Attributes
    ----------
    task_ : {"classification", "multilabel", "regression"}
        What is combined.

    Notes
    -----
    Costs O(K n) for K members and n predictions. Fewer than half of the members cannot move a median beyond the range
    of the others, however wrong they are. For classes this holds before the division by the sum, which may take a
    probability out of that range where the medians come from different members. Where no member is far off, the mean
    has the smaller variance.

    References
    ----------
    Kittler, Hatef, Duin and Matas, "On combining classifiers", IEEE TPAMI 20, 1998, doi:10.1109/34.667881.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.combine import Median
    >>> P = np.array([[[1.0]], [[1.2]], [[99.0]]])
    >>> Median().fit(P, np.array([[1.1]]), "regression")(P).tolist()
    [[1.2]]
    """

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Return the median over members; see :meth:`Combiner.__call__`."""
        check_fitted(self, "task_")
        median = np.median(P, axis=0).astype(floating(P), copy=False)
        if self.task_ != "classification":
            return median
        median = np.where(median.any(axis=1, keepdims=True), median, P.mean(axis=0, dtype=median.dtype))
        return median / median.sum(axis=1, keepdims=True)
