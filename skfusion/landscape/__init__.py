"""The loss between and around networks: barriers along paths (linear mode connectivity), and the loss on planes.

Points of a path or a plane are evaluated together where the module allows it, in ``_evaluate``. This room stands above
``connect`` and ``repair``, as the BatchNorm statistics of each point are re-estimated; it knows states and objectives.
"""

from skfusion.landscape._plane import Plane, Surface, loss_on
from skfusion.landscape._profile import Barrier, Profile, barrier, excess, loss_along, segment

__all__ = ["Barrier", "Plane", "Profile", "Surface", "barrier", "excess", "loss_along", "loss_on", "segment"]
