"""Many networks of one architecture as one: trained, and run on a few rows, together."""

from skfusion.stacked._alike import attributes, difference
from skfusion.stacked._members import Members, lent
from skfusion.stacked._memory import free_bytes, keep_freed_memory
from skfusion.stacked._optim import MemberAdam, MemberOptimizer, MemberSGD, clip_, settings, stepper
from skfusion.stacked._plan import Cost, chunk_sizes, pays
from skfusion.stacked._stack import NotStackableError, Stack

__all__ = [
    "Cost",
    "MemberAdam",
    "MemberOptimizer",
    "MemberSGD",
    "Members",
    "NotStackableError",
    "Stack",
    "attributes",
    "chunk_sizes",
    "clip_",
    "difference",
    "free_bytes",
    "keep_freed_memory",
    "lent",
    "pays",
    "settings",
    "stepper",
]
