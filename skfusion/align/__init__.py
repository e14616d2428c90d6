"""Aligners: in which frame are members compared?"""

from skfusion.align._base import Aligner, Alignment
from skfusion.align.permutation._activation_matching import ActivationMatching
from skfusion.align.permutation._merge_many import MergeMany
from skfusion.align.permutation._rebasin import rebasin
from skfusion.align.permutation._weight_matching import WeightMatching

__all__ = ["ActivationMatching", "Aligner", "Alignment", "MergeMany", "WeightMatching", "rebasin"]
