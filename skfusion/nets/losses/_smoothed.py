"""The cross-entropy of smoothed targets, as a loss of its own (Szegedy et al., 2016)."""

from __future__ import annotations

from typing import Any

from torch import nn


class SmoothedCrossEntropyLoss(nn.CrossEntropyLoss):
    """Cross-entropy with a tenth of each target spread over all classes.

    It is a criterion by itself, so that a net that has it can be given another criterion without parameters of this one
    being left behind.
    """

    def __init__(self, *args: Any, label_smoothing: float = 0.1, **kwargs: Any):
        super().__init__(*args, label_smoothing=label_smoothing, **kwargs)
