"""A learning rate that falls along half a cosine (Loshchilov and Hutter, 2017, without restarts)."""

from __future__ import annotations

import math
from typing import Any

from skorch.callbacks import Callback


class CosineAnnealing(Callback):
    """Lower the learning rate from the net's ``lr`` to a share of it along half a cosine, epoch by epoch.

    Parameters
    ----------
    final : float, default=0.02
        The share of the rate that the last epoch would reach.
    """

    def __init__(self, final: float = 0.02):
        self.final = final

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Set the rates of the epoch."""
        done = (len(net.history) - 1) / net.max_epochs
        factor = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))
        for group in net.optimizer_.param_groups:
            group["lr"] = net.lr * factor
