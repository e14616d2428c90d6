"""Mergers: many states to one state."""

from skfusion.merge._adamerging import AdaMerging
from skfusion.merge._base import LinearMerger, Merger
from skfusion.merge._breadcrumbs import Breadcrumbs
from skfusion.merge._dare import DARE
from skfusion.merge._fisher import Fisher
from skfusion.merge._greedy import Greedy, OneMemberWarning
from skfusion.merge._interpolate import Interpolate
from skfusion.merge._learned import Learned
from skfusion.merge._model_stock import ModelStock
from skfusion.merge._regmean import RegMean
from skfusion.merge._robust_soup import RobustSoup
from skfusion.merge._shared import merge_shared, shared_names
from skfusion.merge._slerp import Slerp
from skfusion.merge._task_arithmetic import TaskArithmetic
from skfusion.merge._tensorwise import Entry, TensorMerger
from skfusion.merge._ties import TIES
from skfusion.merge._uniform import Uniform

__all__ = [
    "DARE",
    "TIES",
    "AdaMerging",
    "Breadcrumbs",
    "Entry",
    "Fisher",
    "Greedy",
    "Interpolate",
    "Learned",
    "LinearMerger",
    "Merger",
    "ModelStock",
    "OneMemberWarning",
    "RegMean",
    "RobustSoup",
    "Slerp",
    "TaskArithmetic",
    "TensorMerger",
    "Uniform",
    "merge_shared",
    "shared_names",
]
