"""Deep ensembles: independent runs that differ in their seed (Lakshminarayanan et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.nets import Run, VectorizeChoice


class Seeds(Collector):
    """Train members that differ in initialisation, order of the data and dropout: a deep ensemble.

    A net that is given as a module *instance* starts every member from that instance's weights, which then stand in
    the pool's ``base``; a net given as a module class draws new ones for each.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train. More give a better ensemble at a proportional cost.
    vectorize : {"auto", True, False}, default="auto"
        Train members together, as one network with a member axis: the same members, many times sooner where networks
        are small. True also where it is not sooner; False one after another.
    max_bytes : int, optional
        Memory for members that are trained together, which are split where they need more; half of the free memory
        when omitted.

    Notes
    -----
    Costs ``n_members`` trainings.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", NeurIPS 2017, arXiv:1612.01474.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Seeds
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Seeds(2).collect(mlp_regressor(max_epochs=2), x, x**2)
    >>> pool.names
    ['seed-0', 'seed-1']
    """

    def __init__(self, n_members: int = 5, vectorize: VectorizeChoice = "auto", max_bytes: int | None = None):
        self.n_members = n_members
        self.vectorize = vectorize
        self.max_bytes = max_bytes

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs that differ in their seeds; see :meth:`Collector.runs`."""
        seeds = draw_seeds(rng, self.n_members, "n_members")
        return [Run(f"seed-{i}", seed) for i, seed in enumerate(seeds)]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4}
        yield {"n_members": 3, "vectorize": False}
