"""The permutation symmetries of a network, as data: which groups of units are on which axes of which tensors.

Beyond permutations, :class:`LinearSymmetry` has folds to a canonical form (``canonicalise``) and linear maps of it.

A :class:`Symmetry` says what moves together (:class:`Group`, :class:`Block`), applies permutations to states
(``permute``), and has the group law (``compose``, ``invert``, ``sample``). `tracing` finds the symmetry of a module,
:meth:`Symmetry.of_axes` takes a declared one, and `align` looks for the best permutations. This room imports only
`state` and `_numbers` below it; another way to declare a symmetry is another constructor of :class:`Symmetry`.
"""

# Names that other rooms use and users do not need are imported here, and are not in __all__.
from skfusion.symmetry._action import home_of, indices_of, moved, outside_of
from skfusion.symmetry._canonicalise import canonicalise
from skfusion.symmetry._folds import BalanceFold, CentreFold, Fold, GainFold, ScaleFold, VectorFold, ZeroFold
from skfusion.symmetry._group import Axes, Block, Group, Permutations, Site, same
from skfusion.symmetry._in_place import permute_in_place
from skfusion.symmetry._linear import LinearKind, LinearSymmetry, without_mean
from skfusion.symmetry._linear_action import LinearMap, mapped
from skfusion.symmetry._places import Draft, Place, places_of
from skfusion.symmetry._resizable import made_on, why_no_mixing
from skfusion.symmetry._runs import Run, resized_symmetry, runs_of, sizes_of
from skfusion.symmetry._symmetry import Symmetry
from skfusion.symmetry._words import OF_OUTPUT, reasons

__all__ = [
    "Axes",
    "Block",
    "Group",
    "LinearSymmetry",
    "Permutations",
    "Site",
    "Symmetry",
    "canonicalise",
]
