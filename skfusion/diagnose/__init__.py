"""Can these networks be merged? How members stand to each other."""

from skfusion.diagnose._pairs import pairwise

__all__ = ["pairwise"]
