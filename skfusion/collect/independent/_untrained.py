"""Independent initial weights, from which a subspace is learned (Wortsman et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import nn

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.nets import Run


class Untrained(Collector):
    """Draw initial weights that differ in their seed, and train none of them.

    ``LearnedSubspace`` starts from them.

    Parameters
    ----------
    n_members : int, default=3
        Networks: the corners of the simplex that is learned.

    Notes
    -----
    Costs nothing.

    References
    ----------
    Wortsman et al., "Learning neural network subspaces", ICML 2021, arXiv:2102.10472.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Untrained
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Untrained(2).collect(mlp_regressor(), x, x**2)
    >>> pool.names, pool[0].meta["epoch"]
    (['untrained-0', 'untrained-1'], 0)
    """

    def __init__(self, n_members: int = 3):
        self.n_members = n_members

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return runs of no epochs that differ in their seeds; see :meth:`Collector.runs`."""
        seeds = draw_seeds(rng, self.n_members, "n_members")
        if isinstance(net.module, nn.Module) and len(seeds) > 1:
            raise ValueError(
                "Untrained draws other initial weights for each member, and a net with a module instance has those of "
                f"the instance for all {len(seeds)}. Give the net the module's class, with module__ parameters."
            )
        params: dict[str, Any] = {"max_epochs": 0}
        if net.callbacks and net.callbacks != "disable":
            params["callbacks"] = []  # some look for epochs at the end, as those do that load the best weights
        return [Run(f"untrained-{i}", seed, params=params) for i, seed in enumerate(seeds)]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 2}
