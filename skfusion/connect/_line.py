"""The straight line between two networks (Goodfellow et al., 2015; Frankle et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from skfusion.connect._base import Connector, Path, PathBasis, check_ends
from skfusion.objective import Objective
from skfusion.state import State


class Line(Connector, PathBasis):
    r"""Join two networks by the straight line between their weights.

    .. math:: \theta(t) = (1 - t)\, \theta_a + t\, \theta_b

    Nothing is trained. Where the loss stays low on it, the networks are linearly mode connected and can be averaged.

    Notes
    -----
    Costs nothing. Networks that were trained from different initial weights have a barrier on it; alignment lowers it.

    References
    ----------
    Goodfellow, Vinyals and Saxe, "Qualitatively characterizing neural network optimization problems", ICLR 2015,
    arXiv:1412.6544. Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020,
    arXiv:1912.05671.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Line
    >>> Line()([{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}]).at(0.5)["w"].item()
    2.0
    """

    needs_objective: ClassVar[bool] = False

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Path:
        """Return the line; see :meth:`Connector.__call__`."""
        check_ends(self, states)
        return Path(states, self)

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`PathBasis.weights`."""
        return np.array([1.0 - t, t])
