"""Federated matched averaging, layer by layer (Wang et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from torch import nn

from skfusion.merge._base import Merger
from skfusion.merge.clients._beta_bernoulli import Prior
from skfusion.merge.clients._clients import Clients
from skfusion.objective import Objective
from skfusion.state import Fused, State
from skfusion.widths import resized_as

Retrain = Callable[[list[State], nn.Module, Collection[str]], Sequence[State]]
"""``retrain(states, module, frozen)`` trains the state of each client further, but for the tensors of some names."""


@dataclass(eq=False, repr=False)
class FedMA(Merger):
    r"""Match and average layer after layer from the inputs up; clients may retrain the layers above (FedMA).

    The units of the first layer, such as the filters of a convolution, are matched by their incoming weights and biases
    as in :class:`PFNM`, and each is replaced by the mean of those that it is matched with. All clients go on with this
    layer, which stays as it is, retrain those above, and match the next one. Of the last layer the mean is taken, in
    which clients count by their rows of each class.

    Parameters
    ----------
    sigma : float, default=1.0
        Deviation of units from their atom. A larger one matches units that are more different.
    sigma0 : float, default=1.0
        Deviation of atoms from zero.
    gamma : float, default=1.0
        Mass of the process. A larger one gives more atoms, and a wider network; the paper has 7 for 16 clients.
    max_width : int, optional
        Units of a layer, at most, but never fewer than a client has. Any number when omitted.
    n_sweeps : int, default=5
        How often each client is taken out and matched anew.
    random_state : int, default=0
        Seed of the order of the clients.

    Notes
    -----
    As a merger it has no clients to ask, and nothing is retrained; :class:`~skfusion.FederatedClassifier` retrains, one
    training of each client for each hidden layer. Atoms are the means of the matched units, which copies do not change;
    the code of the paper shrinks them as PFNM does. The result may be wider than the clients, and is then returned with
    its module: linear layers, convolutions and BatchNorm are given other widths. Channels of a convolution
    stay together where a linear layer reads them. Recurrent layers are refused.

    Of a pruned network, the weights as masks leave them are matched and averaged, and pruned is what all clients prune.
    Hidden layers whose units have an order are averaged as they stand, with a warning that names them.

    References
    ----------
    Wang, Yurochkin, Sun, Papailiopoulos and Khazaeni, "Federated learning with matched averaging", ICLR 2020,
    arXiv:2002.06440.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import FedMA
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> data = ModuleObjective(net, lambda: [Batch(torch.zeros(1, 2), torch.zeros(1))])
    >>> state = {k: v.detach() for k, v in net.state_dict().items()}
    >>> turned = {
    ...     k: v.flip(0) if k[0] == "0" else v.flip(1) if v.dim() == 2 else v for k, v in state.items()
    ... }
    >>> torch.allclose(FedMA()([state, turned], objective=data)["2.weight"], state["2.weight"])
    True
    """

    sigma: float = 1.0
    sigma0: float = 1.0
    gamma: float = 1.0
    max_width: int | None = None
    n_sweeps: int = 5
    random_state: int = 0

    needs_objective: ClassVar[bool] = True
    takes_widths: ClassVar[bool] = True
    order_dependent: ClassVar[bool] = True
    _metas: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def for_members(self, metas: Sequence[Mapping[str, Any]]) -> Self:
        """Return the merger with what is known of the rows of members; see :meth:`Merger.for_members`."""
        known = copy(self)
        vars(known)["_metas"] = tuple(metas)
        return known

    def __call__(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> State | Fused:
        """Return the matched average, without retraining; see :meth:`Merger.__call__`."""
        return self.by_layers(states, objective)

    def by_layers(
        self, states: Sequence[State], objective: Objective | None, retrain: Retrain | None = None
    ) -> State | Fused:
        """Return the matched average of clients that may retrain after each layer.

        Parameters
        ----------
        states : sequence of State
            K states, of one architecture.
        objective : Objective
            With the module, and inputs to see their shape.
        retrain : callable, optional
            ``retrain(states, module, frozen)`` returns the states after a training of each client, in which tensors of
            the names in ``frozen`` stay as they are. Nothing is retrained when omitted.

        Returns
        -------
        State or Fused
            The average, with its module where that has other widths than the one of the objective.
        """
        prior = Prior(self.sigma, self.sigma0, self.gamma, self.max_width)
        prior.check(self)
        clients, rng = Clients(self, states, objective, self._metas), np.random.default_rng(self.random_state)
        frozen: list[str] = []
        for group in clients.layout.order:
            clients.match(group, prior, self.n_sweeps, rng, reading=False)
            clients.settle(group)
            frozen += [name for name in clients.layout.written(group) if name in clients.layout.parameters]
            if retrain is not None:
                trained = clients.now()
                module = resized_as(clients.module, trained[0], clients.x)
                clients.replace(retrain(trained, module, frozen))
        return clients.fused({name: clients.mean(name, None) for name in states[0]})
