"""Connectors: paths and subspaces of low loss between networks (mode connectivity).

A subspace is a few control states and a ``Basis``, which owns the domain of its points; a :class:`Path` is one
whose domain is [0, 1]. A curve that is trained is a subclass of :class:`TrainedConnector` with ``weights``: one file, a
test, and a line here. Connectors of many networks have bases of their own: ``Star``, ``Wedge`` and the folder
``multi_point``; what is trained under attacks is in ``robust``. Connectors know states and at most an objective; this
room imports ``_vectorized``, ``objective`` and what lies below them.
"""

from skfusion.connect._base import Basis, Connector, Path, PathBasis, Subspace, check_ends, combined
from skfusion.connect._bezier import Bezier
from skfusion.connect._fourier import Fourier
from skfusion.connect._line import Line
from skfusion.connect._poly_chain import PolyChain
from skfusion.connect._star import Spokes, Star, StarDomain
from skfusion.connect._trained import TrainedConnector
from skfusion.connect._wedge import Subdivision, Wedge, WedgeSimplex
from skfusion.connect.multi_point import CellPlane, Cells, MultiPoint
from skfusion.connect.robust import AdversarialTraining, Attack, RobustPath, losses_of_rows

__all__ = [
    "AdversarialTraining",
    "Attack",
    "Bezier",
    "CellPlane",
    "Cells",
    "Connector",
    "Fourier",
    "Line",
    "MultiPoint",
    "Path",
    "PathBasis",
    "PolyChain",
    "RobustPath",
    "Spokes",
    "Star",
    "StarDomain",
    "Subdivision",
    "Subspace",
    "TrainedConnector",
    "Wedge",
    "WedgeSimplex",
    "check_ends",
]
