"""Repairers: re-estimate the statistics of a network that no optimiser has visited, such as those of BatchNorm.

``_recalibrate`` does so for BatchNorm, by exact means and variances over batches, and ``_repair`` rescales units of
networks without it (REPAIR). This room imports torch, ``state`` and ``objective``. To add a repairer, write one file
with a subclass of :class:`Repairer`, and its test, and export it here.
"""

from skfusion.repair._base import Repairer
from skfusion.repair._recalibrate import Recalibrate, batch_norms, moments_of, statistics_of
from skfusion.repair._repair import Repair

__all__ = ["Recalibrate", "Repair", "Repairer"]
