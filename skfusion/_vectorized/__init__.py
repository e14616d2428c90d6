"""Many networks of one architecture as one: trained, and run on a few rows, together."""

from skfusion._vectorized._alike import attributes, described, difference, reaching
from skfusion._vectorized._clip import clip_
from skfusion._vectorized._form import NotVectorizableError
from skfusion._vectorized._members import Members, lent, slots_of
from skfusion._vectorized._memory import free_bytes, keep_freed_memory
from skfusion._vectorized._optim import MemberAdam, MemberOptimizer, MemberSGD, settings, stepper
from skfusion._vectorized._plan import ENOUGH, Cost, chunk_sizes, pays
from skfusion._vectorized._program import NotRecordableError, Program
from skfusion._vectorized._span import Span, Spanned
from skfusion._vectorized._stack import Stack

__all__ = [
    "ENOUGH",
    "Cost",
    "MemberAdam",
    "MemberOptimizer",
    "MemberSGD",
    "Members",
    "NotRecordableError",
    "NotVectorizableError",
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
