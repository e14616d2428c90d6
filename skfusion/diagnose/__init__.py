"""Can these networks be merged? How members stand to each other, and what to do with them.

``measure/`` has what is measured of a pool, ``judge/`` what follows from it, ``render/`` how a report looks, and
``_diagnose`` joins them. The room imports `evaluate` and what stands below it. A new measurement is a function in
``measure/`` and a column in its ``_tables``; a new verdict is a rule in ``judge/_advice``, a new remark one in
``judge/_notes``.
"""

from skfusion.diagnose._diagnose import diagnose, report_on
from skfusion.diagnose._report import FusionReport
from skfusion.diagnose.judge._recipes import Recipes
from skfusion.evaluate import diversity, leaderboard, minima_of, pairwise
from skfusion.geometry import cka

__all__ = ["FusionReport", "cka", "diagnose", "diversity", "leaderboard", "minima_of", "pairwise"]
