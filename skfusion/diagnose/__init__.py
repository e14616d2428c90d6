"""Can these networks be merged? How members stand to each other, and what to do with them."""

from skfusion.diagnose._diagnose import diagnose
from skfusion.diagnose._diagnose import report_on as report_on
from skfusion.diagnose._report import FusionReport
from skfusion.diagnose.judge._recipes import Recipes as Recipes
from skfusion.diagnose.measure._pairs import pairwise
from skfusion.estimators.support._diversity import diversity
from skfusion.geometry import cka

__all__ = ["FusionReport", "cka", "diagnose", "diversity", "pairwise"]
