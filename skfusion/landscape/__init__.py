"""The loss between and around networks: along paths, and on planes."""

from skfusion.landscape._plane import Plane, Surface, loss_on
from skfusion.landscape._profile import Barrier, Profile, barrier, excess, loss_along, segment

__all__ = ["Barrier", "Plane", "Profile", "Surface", "barrier", "excess", "loss_along", "loss_on", "segment"]
