"""Which unit goes to which: assignments, and plans of optimal transport, by costs or values that are given as arrays.

`align` and `merge`, which do not know each other, share it. It imports NumPy and torch, and SciPy where a problem is
solved, so that what merges networks without matching units starts without SciPy.
"""

from skfusion._coupling._assign import Prices, assigned, assigned_nested
from skfusion._coupling._exact import exact, rounded
from skfusion._coupling._sinkhorn import sinkhorn

__all__ = ["Prices", "assigned", "assigned_nested", "exact", "rounded", "sinkhorn"]
