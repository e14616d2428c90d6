"""Repairers: re-estimate the statistics of a network that no optimiser has visited, such as those of BatchNorm.

A repairer is one file with a subclass of :class:`Repairer`, a test, and a line here. This room knows torch, states and
objectives. It also offers the layers and moments that other rooms ask for.
"""

from skfusion.repair._base import Repairer
from skfusion.repair._recalibrate import Recalibrate, batch_norms, moments_of, statistics_of
from skfusion.repair._repair import Repair

__all__ = ["Recalibrate", "Repair", "Repairer"]
