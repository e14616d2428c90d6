"""PAPA-2: members that become means of random pairs every few epochs (Jolicoeur-Martineau et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from skfusion.collect.populations._lock_step import BetweenEpochs, LockStepCollector, Settings, check_every
from skfusion.nets import Population, Together, VectorizeChoice


@dataclass(eq=False, repr=False)
class PAPA2(LockStepCollector):
    r"""Train members from one start, and make each the mean of a random pair of them every few epochs (PAPA-2).

    .. math:: \theta_k \leftarrow \tfrac12 (\theta_{i_k} + \theta_{j_k})

    The K pairs :math:`i_k < j_k` are drawn anew each time, all different where there are three members or more. Not
    after the last epoch.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train, K.
    every : int, default=5
        Epochs from one exchange to the next. More let members differ more, until means are bad networks.
    params : dict or list of dict, optional
        Settings of each member; see :class:`PAPA`. They stay at their places: the mean of a pair goes on with the
        settings and the optimiser of member k.
    init : int, State, Member, fitted net or FrozenEstimator, optional
        The common start; see :class:`PAPA`.
    vectorize : {"auto", True, False}, default="auto"
        Train members as one network with a member axis; see :class:`PAPA`.
    max_bytes : int, optional
        Memory for members that are trained as one; half of the free memory when omitted.

    Notes
    -----
    Costs ``n_members`` trainings in one process. Members stay more different than in :class:`PAPAAll`. What happens to
    BatchNorm's statistics, to optimisers, and where members drop out is as in :class:`PAPA`.

    References
    ----------
    Jolicoeur-Martineau, Gervais, Fatras, Zhang and Lacoste-Julien, "PopulAtion Parameter Averaging (PAPA)", TMLR 2024,
    arXiv:2304.03094.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import PAPA2
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> len(PAPA2(3, every=1).collect(mlp_regressor(max_epochs=2), x, x**2))
    3
    """

    n_members: int = 5
    every: int = 5
    params: Settings = None
    init: Any = None
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None

    def population(self, seed: int) -> Population:
        """Return what pairs members; see :meth:`LockStepCollector.population`."""
        check_every(self.every, "epoch")
        return _Pairs(self.every, seed)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4, "every": 1}
        yield {"n_members": 2, "every": 2}


class _Pairs(BetweenEpochs):
    """Makes members that have not diverged means of pairs of them, but not at the end."""

    def __init__(self, every: int, seed: int):
        super().__init__(every)
        self.seed = seed

    def begin(self) -> None:
        self.rng = np.random.RandomState(self.seed)

    def act(self, together: Together) -> None:
        places = np.array(together.without_diverged())
        if len(places) < 2:
            return
        first, second = places[pairs(len(places), self.rng)].T.tolist()
        for x in together.tensors:
            x[places.tolist()] = (x[first] + x[second]) / 2


def pairs(n: int, rng: np.random.RandomState) -> np.ndarray:
    """Return n random pairs of n members, shape (n, 2), all different where there are as many."""
    every = np.array([*combinations(range(n), 2)])
    return every[rng.permutation(np.arange(max(n, len(every))) % len(every))[:n]]
