"""Selectors: which members of a pool to fuse.

A selector gets a pool and an objective, and returns a part of the pool in its order. This room imports ``pool``,
``objective`` and what lies below them. To add a selector, write one file with a subclass of :class:`Selector`, as
``_top_k`` is, and its test, and export it here.
"""

from skfusion.select._base import Selector
from skfusion.select._pick import Pick
from skfusion.select._top_k import TopK

__all__ = ["Pick", "Selector", "TopK"]
