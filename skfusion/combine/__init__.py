"""Combiners: many predictions to one prediction (deep ensembles, voting, Caruana selection, stacking).

A combiner is a subclass of :class:`Combiner` in a file of its own, with ``__call__`` for the combination, and ``fit``
where it learns from held-out predictions; files without a class for users are parts that several share. This room
imports NumPy, SciPy, scikit-learn, ``data`` and ``_rows``; of networks it asks only, by ``nets``, whether a
meta-learner is one. To add a combiner, copy ``_median``, or ``_weighted_average`` where it learns, and export it here.
"""

from skfusion.combine._average import Average
from skfusion.combine._base import Combiner
from skfusion.combine._calibrated import Calibrated
from skfusion.combine._cascade import Cascade
from skfusion.combine._dynamic import DynamicSelection, DynamicWeighting
from skfusion.combine._ensemble_selection import EnsembleSelection
from skfusion.combine._geometric_average import GeometricAverage
from skfusion.combine._median import Median
from skfusion.combine._predictions import from_logs
from skfusion.combine._running import by_row
from skfusion.combine._stack import Stack, check_takes_weights
from skfusion.combine._vote import Vote
from skfusion.combine._weighted_average import WeightedAverage

__all__ = [
    "Average",
    "Calibrated",
    "Cascade",
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
