"""Planes of networks in three vectors, whose losses draw a picture: multi-point optimisation.

``_cells`` has the points and their subspace, ``_plane_training`` the training, and ``_multi_point`` the connector.
"""

from skfusion.connect.multi_point._cells import CellPlane, Cells
from skfusion.connect.multi_point._multi_point import MultiPoint
