"""Modules with other numbers of units in their hidden layers.

:func:`resized` makes a copy, :func:`resized_as` one in the widths of a state. Mergers that change widths return it
beside their weights, as :class:`~skfusion.state.Fused`. This room imports `tracing`, `symmetry` and `state`. Another
kind of layer is a line in `_layers`.
"""

from skfusion.widths._as_state import resized_as
from skfusion.widths._resized import resized, resized_to
from skfusion.widths._widths import Widths, sizes_for

__all__ = ["resized", "resized_as"]
