"""Polygonal chains of low loss (Garipov et al., 2018)."""

from __future__ import annotations

from skfusion._docs import doc
from skfusion.connect._chain import Chain
from skfusion.connect._trained import NOTES, TRAINING, TrainedConnector


@doc(training=TRAINING, notes=NOTES)
class PolyChain(Chain, TrainedConnector):
    r"""Join two networks by a chain of straight lines that is trained to have a low loss all along.

    With bends :math:`\theta_1, \dots, \theta_{n-1}` between the ends :math:`\theta_0, \theta_n`,

    .. math:: \theta(t) = \sum_{k=0}^{n} \max(0, 1 - |n t - k|)\, \theta_k, \qquad
        \min_{\theta_1 \dots \theta_{n-1}} \; \mathbb{E}_{t \sim U(0, 1)} \left[ L(\theta(t))
        + \tfrac{\lambda}{2} \lVert \theta(t) \rVert^2 \right]

    It passes through its bends, each of which is a network of low loss by itself.

    Parameters
    ----------
    n_bends : int, default=1
        Trained states. More can follow a more crooked valley.
    {training}

    {notes}

    Examples
    --------
    >>> from skfusion.connect import PolyChain
    >>> PolyChain().weights(0.25, 3).tolist()
    [0.5, 0.5, 0.0]
    """
