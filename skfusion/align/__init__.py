"""Aligners: match the units of networks that were trained apart, so that their weights can be averaged (git re-basin).

An :class:`Aligner` gets states and their ``Symmetry`` and returns an :class:`Alignment`, which callers only ``apply``.
This room imports `state`, `symmetry`, `tracing` and `objective`; `merge`, `connect` and `repair` are its siblings.

To add an aligner, write one file in the folder of its kind (`permutation/`, `transport/`): a class with ``__call__``,
and ``align_all`` where many networks can be aligned better than one after another; export it here. Another kind of
alignment is a new folder with a subclass of :class:`Alignment`. The laws in `skfusion.testing` find it by themselves.
"""

from skfusion.align._base import Aligner, Alignment, PermutationAlignment
from skfusion.align.permutation._activation_matching import ActivationMatching
from skfusion.align.permutation._merge_many import MergeMany
from skfusion.align.permutation._rebasin import rebasin
from skfusion.align.permutation._weight_matching import WeightMatching
from skfusion.align.transport._transport import Transport

__all__ = [
    "ActivationMatching",
    "Aligner",
    "Alignment",
    "MergeMany",
    "PermutationAlignment",
    "Transport",
    "WeightMatching",
    "rebasin",
]
