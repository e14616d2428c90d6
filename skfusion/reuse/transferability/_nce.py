"""NCE, the negative conditional entropy (Tran et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from scipy.special import xlogy

from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._labelled import Labelled


class NCE(Transferability):
    r"""Rank models by the conditional entropy of the labels, given the classes that they predict (NCE).

    .. math:: -H(Y \mid Z) = \sum_{y, z} \hat p(y, z) \log \frac{\hat p(y, z)}{\hat p(z)}

    where z is the class of the largest output of the member. It is 0 where z determines the label, and minus the
    entropy of the labels, the least, where it tells nothing of them.

    Parameters
    ----------
    n_members : int, default=1
        How many of the best models to choose, equally weighted.

    Notes
    -----
    Costs O(n Z) for n rows and Z classes of the member. As it does not read how certain a model is, any outputs with
    a column a class will do. A model of many classes is overrated where rows are few, more so than by :class:`LEEP`:
    if it predicts another class for every row, its score is 0.

    References
    ----------
    Tran, Nguyen and Hassner, "Transferability and hardness of supervised classification tasks", ICCV 2019,
    arXiv:1908.08142.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.reuse import NCE
    >>> y = np.array([0, 0, 1, 1])
    >>> outputs = np.eye(3)[[2, 2, 0, 1]]  # the classes that the model predicts
    >>> round(NCE().score(outputs, y), 3), round(NCE().score(np.eye(3)[[0, 1, 0, 1]], y), 3)
    (0.0, -0.693)
    """

    reads: ClassVar[Literal["features", "predictions"]] = "predictions"

    def _score(self, rows: Labelled) -> float:
        largest = np.eye(rows.outputs.shape[1])[rows.outputs.argmax(axis=1)]
        joint = rows.class_sums(rows.weight[:, None] * largest) / rows.total
        marginal = np.broadcast_to(joint.sum(axis=0), joint.shape)
        return float(xlogy(joint, joint).sum() - xlogy(joint, marginal).sum())
