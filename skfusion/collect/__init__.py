"""Collectors: where the members of a pool come from.

A collector says which training runs there are (:meth:`Collector.runs`); ``_run`` trains them, and ``_recorders`` has
what a run leaves behind. Collectors of ``independent`` runs, of one ``trajectory``, and of ``fine_tuning`` stand in
folders. This room may import ``nets`` and what is below it. To add a collector, derive from :class:`Collector`, write
``runs`` in a file of its own, and export the class here; the common checks find it.
"""

from skfusion.collect._base import Collector
from skfusion.collect._boosting import Boosting
from skfusion.collect._run import Run
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
    "Run",
    "Seeds",
    "Snapshots",
    "Tail",
    "TangentFineTunes",
    "Tasks",
]
