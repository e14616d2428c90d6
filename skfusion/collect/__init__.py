"""Collectors: where the members of a pool come from."""

from skfusion.collect._base import Collector
from skfusion.collect._boosting import Boosting
from skfusion.collect.fine_tuning._fine_tunes import FineTunes
from skfusion.collect.fine_tuning._tangent_fine_tunes import TangentFineTunes
from skfusion.collect.fine_tuning._tasks import Tasks
from skfusion.collect.independent._bootstrap import Bootstrap
from skfusion.collect.independent._hyper import Hyper
from skfusion.collect.independent._seeds import Seeds
from skfusion.collect.trajectory._averages import Averages
from skfusion.collect.trajectory._fast_geometric import FastGeometric
from skfusion.collect.trajectory._snapshots import Snapshots
from skfusion.collect.trajectory._tail import Tail

__all__ = [
    "Averages",
    "Boosting",
    "Bootstrap",
    "Collector",
    "FastGeometric",
    "FineTunes",
    "Hyper",
    "Seeds",
    "Snapshots",
    "Tail",
    "TangentFineTunes",
    "Tasks",
]
