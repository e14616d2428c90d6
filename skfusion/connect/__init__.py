"""Connectors: paths of low loss between networks."""

from skfusion.connect._base import Basis, Connector, Subspace
from skfusion.connect._bezier import Bezier
from skfusion.connect._ends import check_ends
from skfusion.connect._fourier import Fourier
from skfusion.connect._line import Line
from skfusion.connect._poly_chain import PolyChain

__all__ = ["Basis", "Bezier", "Connector", "Fourier", "Line", "PolyChain", "Subspace", "check_ends"]
