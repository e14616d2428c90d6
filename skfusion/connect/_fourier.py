"""Fourier curves of low loss: a cosine series with exact ends."""

from __future__ import annotations

import numpy as np

from skfusion._docs import doc
from skfusion.connect._trained import TRAINING, TrainedConnector


@doc(training=TRAINING)
class Fourier(TrainedConnector):
    r"""Join two networks by a cosine series that is trained to have a low loss all along.

    The series :math:`b_0 / 2 + \sum_{i=1}^{n} b_i \cos(i \pi t)` meets the ends :math:`\theta_a, \theta_b` where its
    first two coefficients follow from the others:

    .. math:: \theta(t) = \frac{\theta_a + \theta_b}{2} + \frac{\theta_a - \theta_b}{2} \cos \pi t
        + \sum_{i=2}^{n} \frac{g_i(t) - \cos i \pi t}{4} \left(\theta_i - \frac{\theta_a + \theta_b}{2}\right),
        \qquad g_i(t) = \begin{cases} 1 & i \text{ even} \\ \cos \pi t & i \text{ odd} \end{cases}

    which has :math:`b_i = ((\theta_a + \theta_b) / 2 - \theta_i) / 4`. Any :math:`\theta_i` will do, and they are
    trained as the bends of :class:`Bezier`.

    Parameters
    ----------
    n_bends : int, default=1
        Trained states, one for each term from the second one on. More can follow a more crooked valley.
    {training}

    Notes
    -----
    Bends start in the middle between the ends, where the curve is the line, which it passes slowly near its ends: t is
    the place :math:`(1 - \cos \pi t) / 2` on it; :meth:`Path.by_length` has it at an even speed. Costs as
    :class:`Bezier`, and leaves the same tensors as they are. The curve does not pass through its bends. Coefficients
    may be negative. The survey prints frequencies and phases that are free and ends that are not met; here they are
    :math:`i \pi` and 0. How the defaults of training differ from those of Garipov et al. is said in :class:`Bezier`.

    References
    ----------
    Li et al., "Deep model fusion: a survey", 2023, arXiv:2309.15698, table 1 (the series). Garipov et al., "Loss
    surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026 (how it is trained).

    Examples
    --------
    >>> from skfusion.connect import Fourier
    >>> Fourier().weights(0.5, 3).round(12).tolist()
    [0.25, 0.5, 0.25]
    """

    def _start(self) -> np.ndarray:
        """Return the middle between the ends for each bend, where the curve is the line."""
        return np.full(self.n_bends, 0.5)

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`PathBasis.weights`."""
        order = np.arange(2, n_controls)
        bends = (np.where(order % 2, np.cos(np.pi * t), 1.0) - np.cos(np.pi * order * t)) / 4
        along, common = np.cos(np.pi * t) / 2, (1 - bends.sum()) / 2
        return np.array([common + along, *bends, common - along])
