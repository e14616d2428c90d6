"""Collectors: where the members of a pool come from.

A collector says which training runs there are (:meth:`Collector.runs`, a list of :class:`Run`). ``_train_runs`` trains
them, and ``_recorders`` has what a run leaves behind, each as a :class:`Recorder`: checkpoints, the last or the best
state, an average. ``_kept`` keeps members in a folder while they are trained, and continues what was killed: runs are
known by ``_run_folder``, trained by ``_train_kept``, and their data travel by ``_by_path``. ``independent`` has deep
ensembles and bagging, ``trajectory`` SWA, snapshots and FGE, ``fine_tuning`` what starts from one network,
``populations`` what trains in lock-step. This room may import ``nets``
and what is below it. To add a collector, write a subclass of :class:`Collector` with ``runs`` in a file of its folder,
and export it here; the common checks find it.
"""

from skfusion.collect._base import Collector
from skfusion.collect._boosting import Boosting
from skfusion.collect._kept import Kept
from skfusion.collect._train_runs import train
from skfusion.collect.fine_tuning._fine_tunes import FineTunes
from skfusion.collect.fine_tuning._tangent_fine_tunes import TangentFineTunes
from skfusion.collect.fine_tuning._tasks import Tasks
from skfusion.collect.independent._bootstrap import Bootstrap
from skfusion.collect.independent._hyper import Hyper
from skfusion.collect.independent._seeds import Seeds
from skfusion.collect.independent._tabm_members import TabMMembers
from skfusion.collect.independent._untrained import Untrained
from skfusion.collect.populations._hwa import HWA
from skfusion.collect.populations._papa import PAPA
from skfusion.collect.populations._papa_2 import PAPA2
from skfusion.collect.populations._papa_all import PAPAAll
from skfusion.collect.trajectory._averages import Averages
from skfusion.collect.trajectory._fast_geometric import FastGeometric
from skfusion.collect.trajectory._power_snapshots import PowerSnapshots
from skfusion.collect.trajectory._snapshots import Snapshots
from skfusion.collect.trajectory._swag import SWAG, MultiSWAG
from skfusion.collect.trajectory._tail import Tail
from skfusion.nets import Recorder, Run

__all__ = [
    "HWA",
    "PAPA",
    "PAPA2",
    "SWAG",
    "Averages",
    "Boosting",
    "Bootstrap",
    "Collector",
    "FastGeometric",
    "FineTunes",
    "Hyper",
    "Kept",
    "MultiSWAG",
    "PAPAAll",
    "PowerSnapshots",
    "Recorder",
    "Run",
    "Seeds",
    "Snapshots",
    "TabMMembers",
    "Tail",
    "TangentFineTunes",
    "Tasks",
    "Untrained",
]
