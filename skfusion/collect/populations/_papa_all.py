"""PAPA-all: members that are all set to their mean every few epochs (Jolicoeur-Martineau et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skfusion.collect.populations._lock_step import (
    BetweenEpochs,
    LockStepCollector,
    Settings,
    check_every,
    mean_of,
)
from skfusion.nets import Population, Together, VectorizeChoice


@dataclass(eq=False, repr=False)
class PAPAAll(LockStepCollector):
    r"""Train members from one start, and set them all to their mean every few epochs (PAPA-all).

    .. math:: \theta_k \leftarrow \bar\theta = \frac{1}{K} \sum_{j=1}^{K} \theta_j

    Not after the last epoch, so that there are K members at the end.

    Parameters
    ----------
    n_members : int, default=5
        Networks to train, K.
    every : int, default=5
        Epochs from one mean to the next. More let members differ more, until their mean is a bad network. The paper
        takes 5, on ImageNet 1, and 20 for small fine-tunes.
    params : dict or list of dict, optional
        Settings of each member; see :class:`PAPA`.
    init : int, State, Member, fitted net or FrozenEstimator, optional
        The common start; see :class:`PAPA`.
    vectorize : {"auto", True, False}, default="auto"
        Train members as one network with a member axis; see :class:`PAPA`.
    max_bytes : int, optional
        Memory for members that are trained as one; half of the free memory when omitted.

    Notes
    -----
    Costs ``n_members`` trainings in one process. What happens to BatchNorm's statistics, to optimisers, and where
    members drop out is as in :class:`PAPA`, which the paper finds better mostly. The statistics of a mean are those of
    the members on average until the next steps move them: the net's ``valid_loss`` of such an epoch is worse than the
    network is. The paper can repair them; training does not use them.

    References
    ----------
    Jolicoeur-Martineau, Gervais, Fatras, Zhang and Lacoste-Julien, "PopulAtion Parameter Averaging (PAPA)", TMLR 2024,
    arXiv:2304.03094.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import PAPAAll
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = PAPAAll(3, every=1).collect(mlp_regressor(max_epochs=2, batch_size=8), x, x**2)
    >>> len({member.state["layers.0.weight"].sum().item() for member in pool})
    3
    """

    n_members: int = 5
    every: int = 5
    params: Settings = None
    init: Any = None
    vectorize: VectorizeChoice = "auto"
    max_bytes: int | None = None

    def population(self, seed: int) -> Population:
        """Return what averages members; see :meth:`LockStepCollector.population`."""
        check_every(self.every, "epoch")
        return _SetToMean(self.every)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 4, "every": 1}


class _SetToMean(BetweenEpochs):
    """Sets members that have not diverged to their mean, but not at the end."""

    def act(self, together: Together) -> None:
        places = together.without_diverged()
        for x in together.tensors if places else []:
            x[places] = mean_of(x, places)
