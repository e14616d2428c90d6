"""The permutation symmetries of any network, found by watching it run."""

from skfusion.tracing._call import Call, rule
from skfusion.tracing._reader import reading
from skfusion.tracing._run import plain_kernels
from skfusion.tracing._symmetry_of import symmetry_of

__all__ = ["Call", "plain_kernels", "reading", "rule", "symmetry_of"]
