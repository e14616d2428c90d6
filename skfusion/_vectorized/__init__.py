"""Many networks of one architecture as one tensor program: vectorized training, and prediction of a few rows.

``Members`` is a tensor with a member axis; ``_kernels`` and ``_losses`` have the torch functions that are computed for
all members at once, and ``_chains`` has those layers that are one function. This room knows only torch, and no net. A
layer that is slow or refused needs a kernel there; an optimiser needs a class in ``_optimizers``. What cannot be
vectorized raises :class:`NotVectorizableError`, and is trained one by one.
Nothing here is for users, so there is no ``__all__``.
"""

from skfusion._vectorized import _losses as _losses  # its kernels
from skfusion._vectorized._attributes import attribute_holding_tensor, attributes, described, difference
from skfusion._vectorized._dropout import FewBitsDropout
from skfusion._vectorized._encoding import bin_shares, encoded
from skfusion._vectorized._kernels import drawing
from skfusion._vectorized._members import Members, NotVectorizableError, lent, member_of, slots_of
from skfusion._vectorized._modules import VectorizedModules, keep_freed_memory
from skfusion._vectorized._optimizers import (
    MemberAdam,
    MemberOptimizer,
    MemberSGD,
    clip_gradients,
    current_settings,
    member_optimizer,
)
from skfusion._vectorized._program import NotRecordableError, Program
from skfusion._vectorized._subspace import Combinations, SubspaceModule, value_of
