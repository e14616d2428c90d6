"""The loss between and around networks: barriers along paths (linear mode connectivity), and the loss on planes.

``_profile`` has the loss along paths, ``_plane`` that on planes, ``_losses`` that of any subspace, and ``_robustness``
that under attacks; ``_points`` has networks to be used, and ``_minima`` the passes between many networks.
``_evaluate`` computes points together where the module allows it. This room stands above
``connect`` and ``repair``, as the BatchNorm statistics of each point are re-estimated; it knows states and objectives,
and no nets. Another view is a file with a function of states and an objective that asks ``_evaluate``, exported here.
"""

from skfusion.landscape._losses import Losses, loss_at
from skfusion.landscape._minima import MinimaGraph, join_minima
from skfusion.landscape._plane import Plane, Surface, loss_on
from skfusion.landscape._points import Point, best_point, points_at
from skfusion.landscape._profile import Barrier, Profile, barrier, excess, loss_along, segment
from skfusion.landscape._robustness import Robustness, robustness_at
from skfusion.landscape._spanning_tree import Edge, spanning_tree

__all__ = [
    "Barrier",
    "Losses",
    "MinimaGraph",
    "Plane",
    "Point",
    "Profile",
    "Robustness",
    "Surface",
    "barrier",
    "best_point",
    "excess",
    "join_minima",
    "loss_along",
    "loss_at",
    "loss_on",
    "points_at",
    "robustness_at",
    "segment",
]
