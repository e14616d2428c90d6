"""Wasserstein barycenter of the units of networks of any widths (Akash et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from skfusion._coupling import exact
from skfusion._numbers import is_summed, wide
from skfusion.merge._base import Merger, shares
from skfusion.merge.matching._networks import Maps, Networks, groups_on, read_networks
from skfusion.objective import Objective
from skfusion.state import Fused, State
from skfusion.symmetry import LinearMap, made_on
from skfusion.widths import sizes_for


class Barycenter(Merger):
    r"""Fuse networks whose hidden layers may have different widths, into a network of any width.

    The units of a layer of member k are points :math:`x^k_j`, the weights by which they are made, all of one mass.
    Those of the merged layer are the free-support barycenter of these clouds: with exact transport plans :math:`T^k`,

    .. math:: \min_{z, T} \; \sum_k w_k \sum_{ij} T^k_{ij} \lVert z_i - x^k_j \rVert^2, \qquad
        z_i = m \sum_k w_k \sum_j T^k_{ij} x^k_j

    Plans and points are computed in turns, which never raises the sum. Layer follows after layer: weights that read
    units read those of the merged layer below, on which each unit of a member is shared out by its plan.

    Parameters
    ----------
    width : int or dict of int, optional
        Units of each hidden layer of the result, or of some: by the name of a layer, or of a group of units (see
        :func:`skfusion.widths.resized`). Layers that are left out are as wide as those of the first member, and so are
        all when omitted.
    weights : sequence of float, optional
        What each member counts for; the same when omitted.
    max_iter : int, default=20
        Most turns a layer. It ends earlier where nothing is gained.

    Notes
    -----
    Members are aligned on the way, all at once, and need not be aligned before. The module runs once on a few rows, to
    see which units each layer makes; weights alone are compared, and labels are not used. Where all widths are equal,
    plans are permutations, and two members are met half way, as after an alignment by weights.

    Layers along a residual stream have one plan. Weights that are not known to be made of merged units yet, such as
    those of a recurrent layer that read its own units, are compared in a second round of all layers. Groups of units
    that no matrix of weights can mix are averaged in their order, and need the same number of units in all members;
    those inside attention heads are. ``merge_report_["left_out"]`` names them.

    For a layer of m units, members of n and d weights a unit, a turn costs a transport problem of about n³ steps for
    each member, and m n d products. Between a wide and a narrow layer it is a linear program, which takes a tenth of a
    second for 512 and 384 units.

    References
    ----------
    Akash, Li and Garcia Trillos, "Wasserstein barycenter-based model fusion and linear mode connectivity of neural
    networks", 2022, arXiv:2210.06671. Singh and Jaggi, "Model fusion via optimal transport", NeurIPS 2020,
    arXiv:1910.05653. Cuturi and Doucet, "Fast computation of Wasserstein barycenters", ICML 2014, arXiv:1310.4375.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import Barycenter
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> narrow, wide = (nn.Sequential(nn.Linear(3, n), nn.Tanh(), nn.Linear(n, 2)) for n in (4, 6))
    >>> data = ModuleObjective(narrow, lambda: [Batch(torch.ones(5, 3), torch.ones(5))])
    >>> states = [narrow.state_dict(), wide.state_dict()]
    >>> tuple(Barycenter()(states, None, data)["0.weight"].shape)
    (4, 3)
    >>> state, net = Barycenter(width=5)(states, None, data)
    >>> net[0].out_features, tuple(state["2.weight"].shape)
    (5, (2, 5))
    """

    order_dependent: ClassVar[bool] = True  # units stand in the order of the first member's
    needs_objective: ClassVar[bool] = True
    takes_widths: ClassVar[bool] = True
    _test_sets = ({}, {"width": 10})  # each unit twice: other widths cut units into parts

    def __init__(
        self,
        width: int | Mapping[str, int] | None = None,
        weights: Sequence[float] | None = None,
        max_iter: int = 20,
    ):
        self.width = width
        self.weights = weights
        self.max_iter = max_iter

    def __call__(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> State | Fused:
        """Return the barycenter, with its module where it has other widths; see :meth:`Merger.__call__`."""
        if self.max_iter < 1:
            raise ValueError(f"Barycenter needs one turn at least; got max_iter={self.max_iter}.")
        networks = read_networks(self, states, objective)
        member_shares = shares("Barycenter", self.weights, len(states))
        sizes = dict(networks.sizes[0])
        if self.width is not None:
            of_first = networks.symmetries[0]
            sizes |= sizes_for(of_first, self.width)
        solved = Layers(networks, sizes, member_shares, self.max_iter)
        solved.solve()
        maps = [{g: m[k] for g, m in solved.maps.items()} for k in range(len(states))]
        assert objective is not None
        objective.report("weights", member_shares)
        objective.report("transport_costs", solved.costs)
        objective.report("left_out", networks.left_out)
        return networks.fused([_times(of, share) for of, share in zip(maps, member_shares, strict=True)], member_shares)


def _times(maps: Maps, share: float) -> Maps:
    return {g: LinearMap(share * m.out, m.into) for g, m in maps.items()}


class Layers:
    """The maps of each member to the merged network, found group by group."""

    def __init__(self, networks: Networks, sizes: Mapping[str, int], member_shares: Sequence[float], max_iter: int):
        self._networks, self._sizes, self._shares, self._max_iter = networks, sizes, member_shares, max_iter
        symmetry = networks.symmetry
        self._made: dict[str, list[tuple[str, int]]] = {g: [] for g in symmetry.groups}
        for name in symmetry.parameters:
            if all(is_summed(state[name]) for state in networks.states):
                for axis, group in made_on(symmetry, name):
                    self._made[group].append((name, axis))
        self.maps: dict[str, list[LinearMap]] = {}
        self.costs: dict[str, list[float]] = {}
        """The cost after each turn, by group, in the last round in which it was solved."""

    def solve(self) -> None:
        """Find the maps of all groups; twice, where some could not be compared by all of their weights at first."""
        open_, order, partly = [*self._networks.symmetry.groups], list[str](), False
        while open_:
            ready = [g for g in open_ if not self._missing(g)]
            partly |= not ready
            order.append((ready or open_)[0])
            self._solve(order[-1])
            open_.remove(order[-1])
        for group in order if partly else ():
            self._solve(group)

    def _missing(self, group: str) -> set[str]:
        """Return the groups, not solved yet, whose units the weights of a group read."""
        axes = self._networks.symmetry.axes
        return {
            g
            for name, axis in self._made[group]
            for g in groups_on(axes[name][:axis] + axes[name][axis + 1 :])
            if g not in self.maps
        }

    def _solve(self, group: str) -> None:
        points = [self._points(group, k) for k in range(len(self._shares))]
        support = _first_support(points, self._sizes[group])
        plans, self.costs[group] = barycenter(points, support, self._shares, self._max_iter)
        self.maps[group] = [LinearMap(len(t) * t, t.shape[1] * t.T) for t in plans]

    def _points(self, group: str, k: int) -> np.ndarray:
        """Return the weights by which a member makes its units, shape (n_units, n_weights)."""
        networks = self._networks
        known = {g: maps[k] for g, maps in self.maps.items()}
        parts: list[Tensor] = []
        for name, axis in self._made[group]:
            axes = networks.symmetries[k].axes[name]
            if not groups_on(axes[:axis] + axes[axis + 1 :]) <= known.keys():
                continue
            tensor = networks.mapped(k, name, wide(networks.states[k][name]), known, but=axis)
            for block in axes[axis]:
                if group in block.groups:
                    positions = torch.from_numpy(np.ascontiguousarray(block.positions.T)).to(tensor.device)
                    units = tensor.movedim(axis, 0)[positions]  # shape: (n_units, n_copies, ...)
                    parts.append(units.reshape(len(units), -1))
        if not parts:
            return np.zeros((self._networks.sizes[k][group], 1))
        together = torch.cat(parts, 1)
        real = torch.view_as_real(together).flatten(1) if together.is_complex() else together
        return real.cpu().numpy()


def barycenter(
    points: Sequence[np.ndarray], support: np.ndarray, weights: Sequence[float], max_iter: int
) -> tuple[list[np.ndarray], list[float]]:
    """Return the plans between a free-support barycenter and clouds of points, and the cost after each turn."""
    costs: list[float] = []
    best: list[np.ndarray] = []
    for _ in range(max_iter):
        distances = [_squared(support, x) for x in points]
        plans = [exact(d) for d in distances]
        support = sum(w * len(t) * (t @ x) for w, t, x in zip(weights, plans, points, strict=True))
        cost = sum(w * float((t * _squared(support, x)).sum()) for w, t, x in zip(weights, plans, points, strict=True))
        if costs and not cost < costs[-1] - 1e-9 * max(costs[0], 1e-300):
            break
        best = plans
        costs.append(cost)
    return best, costs


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared distances of two clouds of points, exactly zero for equal points."""
    size = np.maximum((a**2).sum(1)[:, None], (b**2).sum(1))
    near = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)
    out: np.ndarray = np.where(near <= 1e-12 * size, 0.0, near)
    return out


def _first_support(points: Sequence[np.ndarray], m: int) -> np.ndarray:
    """Return m points to start from: those of the first member that has m, or some of all, far from each other."""
    for x in points:
        if len(x) == m:
            return x
    every = np.concatenate([*points])
    if m >= len(every):
        return every[np.arange(m) % len(every)]
    chosen = [int((every**2).sum(1).argmax())]
    nearest = np.full(len(every), np.inf)
    while len(chosen) < m:
        nearest = np.minimum(nearest, _squared(every[chosen[-1:]], every)[0])
        nearest[chosen[-1]] = -1
        chosen.append(int(nearest.argmax()))
    return every[sorted(chosen)]
