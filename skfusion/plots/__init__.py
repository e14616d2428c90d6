"""Displays: they compute arrays first, then draw. Drawing needs ``pip install "skfusion[plots]"``."""

from skfusion.plots._barrier import BarrierDisplay
from skfusion.plots._leaderboard import LeaderboardDisplay

__all__ = ["BarrierDisplay", "LeaderboardDisplay"]
