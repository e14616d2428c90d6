"""Can these networks be merged? How members stand to each other, and what to do with them."""

from skfusion.diagnose._diagnose import diagnose
from skfusion.diagnose._report import FusionReport
from skfusion.evaluate import diversity, pairwise
from skfusion.geometry import cka

__all__ = ["FusionReport", "cka", "diagnose", "diversity", "pairwise"]
