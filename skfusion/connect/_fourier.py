"""Fourier curves of low loss: a cosine series with exact ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from skfusion.connect._base import Basis, Connector, Subspace
from skfusion.connect._train import check_settings, trained
from skfusion.objective import Objective
from skfusion.state import State


class Fourier(Connector, Basis):
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
    n_epochs : int, default=50
        Epochs of training. More lower the loss along the curve.
    lr : float, default=0.1
        Learning rate of SGD for half of the training; then it falls linearly to a hundredth at nine tenths of it.
    momentum : float, default=0.9
        Momentum of SGD.
    weight_decay : float, default=0.0
        L2 penalty λ on the point of the curve, not on the bends. That of the networks' own training is a good value.
    train_ends : bool, default=False
        Whether the ends are trained too. Then the curve no longer starts and ends at the networks that were given.
    random_state : int, default=0
        Seed of the positions and of the order of the rows.

    Notes
    -----
    Bends start in the middle between the ends, where the curve is the line, which it passes slowly near its ends: t is
    the place :math:`(1 - \cos \pi t) / 2` on it; :meth:`Subspace.by_length` has it at an even speed. Costs as
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

    def __init__(
        self,
        n_bends: int = 1,
        n_epochs: int = 50,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        train_ends: bool = False,
        random_state: int = 0,
    ):
        self.n_bends = n_bends
        self.n_epochs = n_epochs
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.train_ends = train_ends
        self.random_state = random_state

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_epochs": 20}
        yield {"n_bends": 3, "n_epochs": 20, "weight_decay": 1e-3}

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_settings(self)

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Subspace:
        """Return the trained curve; see :meth:`Connector.__call__`."""
        return trained(self, states, objective, lambda n: np.full(n, 0.5))

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`Basis.weights`."""
        order = np.arange(2, n_controls)
        bends = (np.where(order % 2, np.cos(np.pi * t), 1.0) - np.cos(np.pi * order * t)) / 4
        along, common = np.cos(np.pi * t) / 2, (1 - bends.sum()) / 2
        return np.array([common + along, *bends, common - along])
