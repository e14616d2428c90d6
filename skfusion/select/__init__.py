"""Selectors: which members of a pool to fuse.

A selector gets a pool and an objective, and returns a part of the pool in its order. One is a file with a subclass of
:class:`Selector`, a test, and a line here. This room imports ``pool``, ``objective`` and what lies below them.
"""

from skfusion.select._base import Selector
from skfusion.select._pick import Pick
from skfusion.select._top_k import TopK

__all__ = ["Pick", "Selector", "TopK"]
