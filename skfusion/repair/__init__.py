"""Repairers: mend the statistics of a merged network."""

from skfusion.repair._base import Repairer
from skfusion.repair._recalibrate import Recalibrate

__all__ = ["Recalibrate", "Repairer"]
