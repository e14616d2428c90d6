"""The nudged elastic band (Henkelman and Jónsson, 2000; Draxler et al., 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from skfusion._docs import doc
from skfusion._random import seed_scope
from skfusion.connect._base import Connector, Path
from skfusion.connect._chain import Chain
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._train import rate
from skfusion.connect.strings._band import Band, trainable
from skfusion.connect.strings._docs import BAND
from skfusion.connect.strings._forces import check_spring
from skfusion.objective import Objective
from skfusion.state import State


@doc(BAND)
@dataclass(eq=False, repr=False)
class ElasticBand(Connector, Chain):
    r"""Join two networks by a chain that relaxes into a valley as an elastic band does (nudged elastic band, NEB).

    Each pivot :math:`\theta_i` goes down the slope of the loss that is across the band, whose direction there is
    :math:`\tau_i`:

    .. math:: \theta_i \leftarrow \theta_i - \eta \left(g_i - (g_i \cdot \tau_i)\, \tau_i\right), \qquad
        g_i = \nabla L(\theta_i) + \lambda\, \theta_i

    So pivots do not slide down to the networks, and the highest one comes to rest at the pass between them, the saddle.
    :math:`\tau_i` is the improved tangent: it points to the higher neighbour, and at a pivot that is higher or lower
    than both to a mean of both, in which the higher neighbour counts more.

    Parameters
    ----------
    n_bends : int, default=9
        Pivots between the ends. More follow a more crooked valley, at a step each.
    n_epochs : int, default=50
        Epochs of training. More lower the loss along the band.
    {lr}
    {steps}

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> from skfusion.connect import ElasticBand
    >>> ElasticBand().weights(0.25, 3).tolist()
    [0.5, 0.5, 0.0]
    """

    n_bends: int = 9
    n_epochs: int = 50
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    spring: float = math.inf
    random_state: int = 0
    _test_sets = ({"n_bends": 4, "n_epochs": 20}, {"n_bends": 3, "n_epochs": 20, "spring": 0.1, "weight_decay": 1e-3})

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_bends", least=1)
        check_whole(self, "n_epochs")
        check_steps(self, "weight_decay")
        check_spring(self)

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Path:
        """Return the relaxed band; see :meth:`Connector.__call__`."""
        data = trainable(self, states, objective)
        if data is None:
            return Path(states, self)
        band = Band(self, states, data)
        with seed_scope(int(self.random_state), band.pivots.device), torch.no_grad():
            band.insert_evenly(self.n_bends)
            line, straight = band.controls, np.nanmax(band.profile(1))
            band.relax(self.n_epochs, rate)
            relaxed = np.nanmax(band.profile(1))
        return Path(line if straight < relaxed else band.controls, self, band.history)
