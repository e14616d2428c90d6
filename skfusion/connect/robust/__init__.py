"""Paths of networks that withstand small changes of their inputs: attacks, trainings against them, and curves.

An :class:`Attack` changes rows; what trains against it gives it to ``train`` of ``connect``. This folder knows states
and objectives; how robust the points of a path are is measured by ``landscape``.
"""

from skfusion.connect.robust._adversarial_training import AdversarialTraining
from skfusion.connect.robust._attack import Attack, losses_of_rows
from skfusion.connect.robust._robust_path import RobustPath
