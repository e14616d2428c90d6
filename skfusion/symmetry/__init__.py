"""The permutation symmetries of a network, as data."""

from skfusion.symmetry._action import home_of, indices_of, moved
from skfusion.symmetry._describe import reasons
from skfusion.symmetry._group import Axes, Block, Group, Permutations, Site
from skfusion.symmetry._symmetry import Symmetry

__all__ = ["Axes", "Block", "Group", "Permutations", "Site", "Symmetry", "home_of", "indices_of", "moved", "reasons"]
