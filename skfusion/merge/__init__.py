"""Mergers: many states to one state (model soups, task vectors, statistics of the data).

``soups/`` has averages and searches for their weights, ``matching/`` what matches units, of members of any widths,
``clients/`` what matches those of clients, ``server/`` optimisers of a server, which go on from round to round,
``task_vectors/`` what starts from a common base, ``statistics/`` what looks at activations and gradients, and
``trajectory/`` what is made of the states of one run. A method is one file there with a subclass of :class:`Merger`,
:class:`LinearMerger` or :class:`TensorMerger`, a test, and a line here. Mergers get states, a base and an objective:
this room imports ``widths``, ``tracing``, ``objective``, ``state`` and what lies below them, and neither nets nor
pools.
"""

from skfusion.merge._base import LinearMerger, Merge, Merger, check_states, layer_of
from skfusion.merge._shared import merge_shared, shared_names
from skfusion.merge._tensorwise import Entry, TensorMerger, is_merged
from skfusion.merge.clients._fedma import FedMA
from skfusion.merge.clients._pfnm import PFNM
from skfusion.merge.matching._barycenter import Barycenter
from skfusion.merge.matching._heads import zip_heads
from skfusion.merge.matching._zipit import ZipIt
from skfusion.merge.server._base import ServerOptimizer, ServerStep
from skfusion.merge.server._fed_adam import FedAdam
from skfusion.merge.server._fed_avg_m import FedAvgM
from skfusion.merge.server._fed_yogi import FedYogi
from skfusion.merge.soups._greedy import Greedy, OneMemberWarning, greedy_soup, known_scores
from skfusion.merge.soups._interpolate import Interpolate
from skfusion.merge.soups._learned import Learned
from skfusion.merge.soups._model_stock import ModelStock
from skfusion.merge.soups._robust_soup import RobustSoup
from skfusion.merge.soups._slerp import Slerp
from skfusion.merge.soups._uniform import Uniform
from skfusion.merge.statistics._fisher import Fisher
from skfusion.merge.statistics._regmean import RegMean
from skfusion.merge.task_vectors._adamerging import AdaMerging
from skfusion.merge.task_vectors._breadcrumbs import Breadcrumbs
from skfusion.merge.task_vectors._dare import DARE
from skfusion.merge.task_vectors._task_arithmetic import TaskArithmetic
from skfusion.merge.task_vectors._ties import TIES
from skfusion.merge.trajectory._decay_merge import DecayMerge
from skfusion.merge.trajectory._post_hoc_ema import PostHocEMA
from skfusion.merge.trajectory._twa import TWA

__all__ = [
    "DARE",
    "PFNM",
    "TIES",
    "TWA",
    "AdaMerging",
    "Barycenter",
    "Breadcrumbs",
    "DecayMerge",
    "Entry",
    "FedAdam",
    "FedAvgM",
    "FedMA",
    "FedYogi",
    "Fisher",
    "Greedy",
    "Interpolate",
    "Learned",
    "LinearMerger",
    "Merger",
    "ModelStock",
    "OneMemberWarning",
    "PostHocEMA",
    "RegMean",
    "RobustSoup",
    "ServerOptimizer",
    "Slerp",
    "TaskArithmetic",
    "TensorMerger",
    "Uniform",
    "ZipIt",
    "merge_shared",
    "shared_names",
    "zip_heads",
]
