"""Collectors: where the members of a pool come from."""

from skfusion.collect._averages import Averages
from skfusion.collect._base import Collector
from skfusion.collect._boosting import Boosting
from skfusion.collect._bootstrap import Bootstrap
from skfusion.collect._fast_geometric import FastGeometric
from skfusion.collect._fine_tunes import FineTunes
from skfusion.collect._hyper import Hyper
from skfusion.collect._seeds import Seeds
from skfusion.collect._snapshots import Snapshots
from skfusion.collect._tail import Tail
from skfusion.collect._tangent_fine_tunes import TangentFineTunes
from skfusion.collect._tasks import Tasks

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
