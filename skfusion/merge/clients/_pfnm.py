"""Probabilistic federated neural matching (Yurochkin et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from skfusion.merge._base import Merger
from skfusion.merge.clients._beta_bernoulli import Prior
from skfusion.merge.clients._clients import Clients
from skfusion.objective import Objective
from skfusion.state import Fused, State


@dataclass(eq=False, repr=False)
class PFNM(Merger):
    r"""Match the units of perceptrons to common ones, of which the data say how many there are (PFNM).

    A unit of a client is the vector v of its weights, incoming and outgoing, and its bias. It varies with the variance
    :math:`\sigma^2` around an atom, atoms vary with :math:`\sigma_0^2` around zero, and a Beta-Bernoulli process with
    the mass :math:`\gamma` says which atoms a client has. Of J clients, each in turn is matched with the atoms of the
    others, so that the posterior is largest, which is a linear assignment problem. The atom of n matched units is the
    mean of its posterior,

    .. math:: \theta_i = \frac{\sum_j v_j / \sigma^2}{1 / \sigma_0^2 + n / \sigma^2}

    Parameters
    ----------
    sigma : float, default=1.0
        Deviation of units from their atom. A larger one matches units that are more different.
    sigma0 : float, default=1.0
        Deviation of atoms from zero. A larger one shrinks less.
    gamma : float, default=1.0
        Mass of the process. A larger one gives more atoms, and a wider network.
    max_width : int, optional
        Units of a layer, at most, but never fewer than a client has. Any number when omitted.
    n_sweeps : int, default=5
        How often each client is taken out and matched anew.
    correct : bool, default=False
        Whether atoms are the plain means of the matched units, without the shrinkage.
    random_state : int, default=0
        Seed of the order of the clients.

    Notes
    -----
    Layers are matched from the output down. In a network of several hidden layers only the units of the first are
    matched by their incoming weights, too, as those of others stand in an order that is not known yet. The bias of the
    output is averaged by how many rows of each class a client has, where that is known, and by clients otherwise. All
    prior means are zero; the code of the paper has 0.1 for biases.

    The posterior shrinks: of J copies of a network it is :math:`J / (\sigma^2 / \sigma_0^2 + J)` times the copy in each
    parameter, with the default 2/3 of it for two. Where classes are predicted by a network of ReLU that hardly matters
    once; in many rounds, or for values, take ``correct=True``.

    Widths of clients may differ, as may that of the result, which is then returned with its module. Linear layers and
    BatchNorm, and convolutions too, are given other widths. Data are asked for the shape of inputs only. Costs
    ``n_sweeps`` J assignment problems of a client's units with all atoms for each layer.

    Of a pruned network, the weights as masks leave them are matched and averaged, and pruned is what all clients prune.
    Hidden layers whose units have an order are averaged as they stand, with a warning that names them.

    References
    ----------
    Yurochkin, Agarwal, Ghosh, Greenewald, Hoang and Khazaeni, "Bayesian nonparametric federated learning of neural
    networks", ICML 2019, arXiv:1905.12022.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import PFNM
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> data = ModuleObjective(net, lambda: [Batch(torch.zeros(1, 2), torch.zeros(1))])
    >>> state = {k: v.detach() for k, v in net.state_dict().items()}
    >>> turned = {
    ...     k: v.flip(0) if k[0] == "0" else v.flip(1) if v.dim() == 2 else v for k, v in state.items()
    ... }
    >>> merged = PFNM()([state, turned], objective=data)
    >>> torch.allclose(1.5 * merged["0.weight"], state["0.weight"])
    True
    """

    sigma: float = 1.0
    sigma0: float = 1.0
    gamma: float = 1.0
    max_width: int | None = None
    n_sweeps: int = 5
    correct: bool = False
    random_state: int = 0

    needs_objective: ClassVar[bool] = True
    takes_widths: ClassVar[bool] = True
    order_dependent: ClassVar[bool] = True
    why_copies_change: ClassVar[str] = "the mean of the posterior is shrunk towards zero"
    _metas: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def for_members(self, metas: Sequence[Mapping[str, Any]]) -> Self:
        """Return the merger with what is known of the rows of members; see :meth:`Merger.for_members`."""
        known = copy(self)
        vars(known)["_metas"] = tuple(metas)
        return known

    def __call__(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> State | Fused:
        """Return the network of the atoms; see :meth:`Merger.__call__`."""
        prior = Prior(self.sigma, self.sigma0, self.gamma, self.max_width)
        prior.check(self)
        clients, rng = Clients(self, states, objective, self._metas), np.random.default_rng(self.random_state)
        for group in reversed(clients.layout.order):
            clients.match(group, prior, self.n_sweeps, rng, reading=True)
        shrunk = None if self.correct else prior
        # A weight belongs to the unit that reads by it: the one below, or else the one that it computes.
        axis_of = {name: max(axes) for name, axes in clients.layout.axes.items()}
        return clients.fused({name: clients.mean(name, axis_of.get(name), shrunk) for name in states[0]})
