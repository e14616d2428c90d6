"""Bezier curves of low loss (Garipov et al., 2018)."""

from __future__ import annotations

from math import comb

import numpy as np

from skfusion._docs import doc
from skfusion.connect._trained import NOTES, TRAINING, TrainedConnector


@doc(training=TRAINING, notes=NOTES)
class Bezier(TrainedConnector):
    r"""Join two networks by a Bezier curve that is trained to have a low loss all along.

    With bends :math:`\theta_1, \dots, \theta_{n-1}` between the ends :math:`\theta_0, \theta_n`,

    .. math:: \theta(t) = \sum_{k=0}^{n} \binom{n}{k} t^k (1 - t)^{n - k} \theta_k, \qquad
        \min_{\theta_1 \dots \theta_{n-1}} \; \mathbb{E}_{t \sim U(0, 1)} \left[ L(\theta(t))
        + \tfrac{\lambda}{2} \lVert \theta(t) \rVert^2 \right]

    The curve does not pass through its bends.

    Parameters
    ----------
    n_bends : int, default=1
        Trained states; the degree of the curve is one more. More can follow a more crooked valley.
    {training}

    {notes}

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Bezier
    >>> ends = [{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}]
    >>> Bezier().weights(0.5, 3).tolist()
    [0.25, 0.5, 0.25]
    """

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`PathBasis.weights`."""
        n = n_controls - 1
        return np.array([comb(n, k) * t**k * (1 - t) ** (n - k) for k in range(n + 1)])
