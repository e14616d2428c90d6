"""Displays: they compute arrays first, then draw. Drawing needs ``pip install "skfusion[plots]"``.

One file a display; ``_display`` has their base, and the paragraphs that their docstrings share. The room imports
`evaluate`, for members of a pool on data, and what stands below it; matplotlib only inside of functions that draw. A
new display is a dataclass and a subclass of ``Display`` in a file here: its fields are its parameters, its constructors
``from_...`` compute, and ``_draw`` shows.
"""

from skfusion.plots._barrier import BarrierDisplay
from skfusion.plots._curve import CurveDisplay
from skfusion.plots._diversity import DiversityDisplay
from skfusion.plots._leaderboard import LeaderboardDisplay
from skfusion.plots._plane import PlaneDisplay
from skfusion.plots._similarity import SimilarityDisplay
from skfusion.plots._soup import SoupDisplay
from skfusion.plots._spanning_tree import SpanningTreeDisplay
from skfusion.plots._subspace import SubspaceDisplay
from skfusion.plots._trajectory import TrajectoryDisplay

__all__ = [
    "BarrierDisplay",
    "CurveDisplay",
    "DiversityDisplay",
    "LeaderboardDisplay",
    "PlaneDisplay",
    "SimilarityDisplay",
    "SoupDisplay",
    "SpanningTreeDisplay",
    "SubspaceDisplay",
    "TrajectoryDisplay",
]
