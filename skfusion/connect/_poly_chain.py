"""Polygonal chains of low loss (Garipov et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from skfusion.connect._base import Basis, Connector, Subspace
from skfusion.connect._train import check_settings, spaced, trained
from skfusion.objective import Objective
from skfusion.state import State


class PolyChain(Connector, Basis):
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
    n_epochs : int, default=50
        Epochs of training. More lower the loss along the chain.
    lr : float, default=0.1
        Learning rate of SGD for half of the training; then it falls linearly to a hundredth at nine tenths of it.
    momentum : float, default=0.9
        Momentum of SGD.
    weight_decay : float, default=0.0
        L2 penalty λ on the point of the chain, not on the bends. That of the networks' own training is a good value.
    train_ends : bool, default=False
        Whether the ends are trained too. Then the chain no longer starts and ends at the networks that were given.
    random_state : int, default=0
        Seed of the positions and of the order of the rows.

    Notes
    -----
    Bends start equally spaced on the line between the ends. A step draws one position t for its mini-batch, and costs a
    step of ordinary training and O(m d) for m states of d numbers, which are also the memory. BatchNorm uses the
    statistics of the batch; recalibrate it at each point that is used.

    Tensors that are equal in both ends stay as they are, as nothing has trained them (such as a frozen part), unless
    ends are trained too; where all are equal, nothing is trained. What the module itself does not train, such as frozen
    parameters that differ, is at each point the same sum of the control states as all else.

    The defaults are for small networks. The paper takes one bend too, and trains it like the networks: for 200 epochs
    with a learning rate of 0.03 and a weight decay of 3e-4 or 5e-4 (ResNets), or for 600 with 0.015 and 5e-4 (VGG-16),
    in batches of 128; its code has 200 epochs, 0.01 and 1e-4 when nothing is given. Positions are drawn uniformly in t,
    as in the paper, which would rather have them uniform in length: equally spaced points of
    :meth:`Subspace.by_length` are.

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.

    Examples
    --------
    >>> from skfusion.connect import PolyChain
    >>> PolyChain().weights(0.25, 3).tolist()
    [0.5, 0.5, 0.0]
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
        """Return the trained chain; see :meth:`Connector.__call__`."""
        return trained(self, states, objective, spaced)

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`Basis.weights`."""
        found: np.ndarray = np.maximum(0.0, 1.0 - np.abs(t * (n_controls - 1) - np.arange(n_controls)))
        return found
