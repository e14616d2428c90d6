"""Selectors: which members of a pool to fuse."""

from skfusion.select._base import Selector
from skfusion.select._pick import Pick
from skfusion.select._top_k import TopK

__all__ = ["Pick", "Selector", "TopK"]
