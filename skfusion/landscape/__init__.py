"""The loss between and around networks: barriers along paths (linear mode connectivity), and the loss on planes.

``_profile`` has the loss along paths, ``_plane`` that on planes, ``_losses`` that of any subspace, and ``_robustness``
that under attacks; ``_evaluate`` computes points together where the module allows it. This room stands above
``connect`` and ``repair``, as the BatchNorm statistics of each point are re-estimated; it knows states and objectives,
and no nets. Another view is a file with a function of states and an objective that asks ``_evaluate``, exported here.
"""

from skfusion.landscape._losses import Losses, loss_at
from skfusion.landscape._plane import Plane, Surface, loss_on
from skfusion.landscape._profile import Barrier, Profile, barrier, excess, loss_along, segment
from skfusion.landscape._robustness import Robustness, robustness_at

__all__ = [
    "Barrier",
    "Losses",
    "Plane",
    "Profile",
    "Robustness",
    "Surface",
    "barrier",
    "excess",
    "loss_along",
    "loss_at",
    "loss_on",
    "robustness_at",
    "segment",
]
