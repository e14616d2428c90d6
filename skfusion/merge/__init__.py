"""Mergers: many states to one state."""

from skfusion.merge._base import LinearMerger, Merger
from skfusion.merge._greedy import Greedy
from skfusion.merge._tensorwise import Entry, TensorMerger
from skfusion.merge._uniform import Uniform

__all__ = ["Entry", "Greedy", "LinearMerger", "Merger", "TensorMerger", "Uniform"]
