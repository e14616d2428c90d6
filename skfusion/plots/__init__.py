"""Displays: they compute arrays first, then draw. Drawing needs ``pip install "skfusion[plots]"``."""

from skfusion.plots._barrier import BarrierDisplay
from skfusion.plots._curve import CurveDisplay
from skfusion.plots._diversity import DiversityDisplay
from skfusion.plots._leaderboard import LeaderboardDisplay
from skfusion.plots._plane import PlaneDisplay
from skfusion.plots._similarity import SimilarityDisplay
from skfusion.plots._soup import SoupDisplay
from skfusion.plots._trajectory import TrajectoryDisplay

__all__ = [
    "BarrierDisplay",
    "CurveDisplay",
    "DiversityDisplay",
    "LeaderboardDisplay",
    "PlaneDisplay",
    "SimilarityDisplay",
    "SoupDisplay",
    "TrajectoryDisplay",
]
