"""Many networks of one architecture as one: trained, and run on a few rows, together."""

from skfusion.stacked._alike import attributes, difference
from skfusion.stacked._members import Members, lent, slots_of
from skfusion.stacked._memory import free_bytes, keep_freed_memory
from skfusion.stacked._optim import MemberAdam, MemberOptimizer, MemberSGD, clip_, settings, stepper
from skfusion.stacked._plan import Cost, chunk_sizes, pays
from skfusion.stacked._program import NotRecordableError, Program
from skfusion.stacked._stack import NotStackableError, Stack

__all__ = [
    "Cost",
    "MemberAdam",
    "MemberOptimizer",
    "MemberSGD",
    "Members",
    "NotRecordableError",
    "NotStackableError",
    "Program",
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
    "slots_of",
    "stepper",
]
