"""A learning rate that falls along half a cosine (Loshchilov and Hutter, 2017, without restarts)."""

from __future__ import annotations

import math
from typing import Any

from skorch.callbacks import Callback


class CosineAnnealing(Callback):
    """Lower learning rates, of each group of parameters its own, to a share of them along half a cosine by epochs.

    Parameters
    ----------
    final : float, default=0.02
        The share of the rate that the last epoch would reach.
    """

    def __init__(self, final: float = 0.02):
        self.final = final

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Set the rates of the epoch."""
        epoch = len(net.history) - 1
        groups = net.optimizer_.param_groups
        if epoch == 0 or not hasattr(self, "rates_"):
            self.rates_ = [group["lr"] for group in groups]
        factor = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * epoch / net.max_epochs))
        for group, rate in zip(groups, self.rates_, strict=True):
            group["lr"] = rate * factor
