"""Many networks of one architecture as one: trained, and run on a few rows, together."""

from skfusion.stacked._members import Members, lent
from skfusion.stacked._optim import MemberAdam, MemberOptimizer, MemberSGD, clip_, settings, stepper
from skfusion.stacked._stack import NotStackableError, Stack

__all__ = [
    "MemberAdam",
    "MemberOptimizer",
    "MemberSGD",
    "Members",
    "NotStackableError",
    "Stack",
    "clip_",
    "lent",
    "settings",
    "stepper",
]
