"""Repairers: mend the statistics of a merged network."""

from skfusion.repair._base import Repairer
from skfusion.repair._recalibrate import Recalibrate
from skfusion.repair._repair import Repair

__all__ = ["Recalibrate", "Repair", "Repairer"]
