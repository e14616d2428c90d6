"""Combiners: many predictions to one prediction."""

from skfusion.combine._average import Average
from skfusion.combine._base import Combiner
from skfusion.combine._stack import Stack
from skfusion.combine._vote import Vote

__all__ = ["Average", "Combiner", "Stack", "Vote"]
