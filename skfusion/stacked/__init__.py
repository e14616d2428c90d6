"""Many networks of one architecture as one: trained, and run on a few rows, together."""

from skfusion.stacked._alike import attributes, described, difference, reaching
from skfusion.stacked._clip import clip_
from skfusion.stacked._form import NotStackableError
from skfusion.stacked._members import Members, lent, slots_of
from skfusion.stacked._memory import free_bytes, keep_freed_memory
from skfusion.stacked._optim import MemberAdam, MemberOptimizer, MemberSGD, settings, stepper
from skfusion.stacked._plan import ENOUGH, Cost, chunk_sizes, pays
from skfusion.stacked._program import NotRecordableError, Program
from skfusion.stacked._span import Span, Spanned
from skfusion.stacked._stack import Stack

__all__ = [
    "ENOUGH",
    "Cost",
    "MemberAdam",
    "MemberOptimizer",
    "MemberSGD",
    "Members",
    "NotRecordableError",
    "NotStackableError",
    "Program",
    "Span",
    "Spanned",
    "Stack",
    "attributes",
    "chunk_sizes",
    "clip_",
    "described",
    "difference",
    "free_bytes",
    "keep_freed_memory",
    "lent",
    "pays",
    "reaching",
    "settings",
    "slots_of",
    "stepper",
]
