"""Connectors: paths and subspaces of low loss between networks (mode connectivity).

A subspace is a few control states and a ``Basis``, which owns the domain of its points; a :class:`Path` is one
whose domain is [0, 1], and a :class:`SimplicialComplex` one of simplexes. A curve that is trained is a subclass of
:class:`TrainedConnector` with ``weights``: one file, a test, and a line here. ``_train`` takes steps at one point of
any basis, ``_descent`` at several. The folder ``strings`` has paths of pivots, ``multi_point`` a plane, and ``robust``
what is trained under attacks. Connectors know states and at most an objective; this room imports ``_vectorized``,
``objective`` and what lies below them.
"""

from skfusion.connect._base import Connector, Path, Subspace, check_ends, combined
from skfusion.connect._basis import Basis, ByLength, PathBasis
from skfusion.connect._bezier import Bezier
from skfusion.connect._complex import Complex, SimplicialComplex
from skfusion.connect._fourier import Fourier
from skfusion.connect._learned_subspace import LearnedSubspace
from skfusion.connect._line import Line
from skfusion.connect._poly_chain import PolyChain
from skfusion.connect._projection import Projection
from skfusion.connect._simplicial import SimplexPerMode, Simplicial
from skfusion.connect._star import Spokes, Star, StarDomain
from skfusion.connect._trained import TrainedConnector
from skfusion.connect._wedge import Subdivision, Wedge, WedgeSimplex
from skfusion.connect.multi_point import CellPlane, Cells, MultiPoint
from skfusion.connect.robust import AdversarialTraining, Attack, RobustPath, losses_of_rows
from skfusion.connect.strings._auto_neb import AutoNEB
from skfusion.connect.strings._dynamic_string import DynamicString, String
from skfusion.connect.strings._elastic_band import ElasticBand
from skfusion.connect.strings._geodesic import Geodesic, GeodesicPath

__all__ = [
    "AdversarialTraining",
    "Attack",
    "AutoNEB",
    "Bezier",
    "CellPlane",
    "Cells",
    "Complex",
    "Connector",
    "DynamicString",
    "ElasticBand",
    "Fourier",
    "Geodesic",
    "GeodesicPath",
    "LearnedSubspace",
    "Line",
    "MultiPoint",
    "Path",
    "PathBasis",
    "PolyChain",
    "Projection",
    "RobustPath",
    "SimplexPerMode",
    "Simplicial",
    "SimplicialComplex",
    "Spokes",
    "Star",
    "StarDomain",
    "String",
    "Subdivision",
    "Subspace",
    "TrainedConnector",
    "Wedge",
    "WedgeSimplex",
    "check_ends",
]
