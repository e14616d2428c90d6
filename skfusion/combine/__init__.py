"""Combiners: many predictions to one prediction.

A combiner is a subclass of :class:`Combiner` in a file of its own, with ``fit`` where it learns from held-out
predictions and ``__call__`` for the combination; it is found by the common checks once it is in ``__all__``. This room
knows numpy, scipy and scikit-learn; of networks it asks only, by ``nets``, whether a meta-learner is one.
"""

from skfusion.combine._average import Average
from skfusion.combine._base import Combiner
from skfusion.combine._calibrated import Calibrated
from skfusion.combine._dynamic import DynamicSelection, DynamicWeighting
from skfusion.combine._ensemble_selection import EnsembleSelection
from skfusion.combine._geometric_average import GeometricAverage
from skfusion.combine._logs import from_logs
from skfusion.combine._median import Median
from skfusion.combine._running import by_row
from skfusion.combine._stack import Stack, check_takes_weights
from skfusion.combine._vote import Vote
from skfusion.combine._weighted_average import WeightedAverage

__all__ = [
    "Average",
    "Calibrated",
    "Combiner",
    "DynamicSelection",
    "DynamicWeighting",
    "EnsembleSelection",
    "GeometricAverage",
    "Median",
    "Stack",
    "Vote",
    "WeightedAverage",
]
