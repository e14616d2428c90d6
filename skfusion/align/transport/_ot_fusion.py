"""OTFusion: the units of one network are transported to those of another, layer by layer (Singh & Jaggi, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from numbers import Real
from typing import ClassVar

import numpy as np
import torch

from skfusion._coupling import exact
from skfusion.align._base import Aligner, given_symmetry
from skfusion.align.permutation._activation_sites import View, clear_views, groups_at
from skfusion.align.permutation._compare import Sides, similarities
from skfusion.align.permutation._evidence import Distance
from skfusion.align.permutation._match import Term
from skfusion.align.transport._makers import Makers, is_nested
from skfusion.align.transport._planner import Planner, Plans
from skfusion.align.transport._transport import Transport
from skfusion.align.transport._two_widths import sides_of, symmetries_of
from skfusion.objective import Objective, evaluating
from skfusion.state import State
from skfusion.symmetry import LinearMap, Symmetry

_LEAST_MASS = 1e-3  # of the mean one: units that nothing makes are sent, too


class OTFusion(Aligner):
    r"""Match units by optimal transport, layer by layer (OTFusion).

    For a group with costs :math:`C_{ij}` of sending unit i of the state to unit j of the reference, the plan is that of

    .. math:: \min_T \; \langle T, C \rangle - \lambda H(T)
       \quad\text{where}\quad T \mathbf 1 = \alpha, \; T^\top \mathbf 1 = \beta, \; T \ge 0,

    and each new unit is the mean of the old ones that send it mass; see :meth:`Transport.from_plans`. Without entropy
    H and with equal masses it is a permutation. The layers are taken in the order of the network, each after the units
    that it reads have been transported; outputs stay where they are. Units that several layers make, such as those of a
    residual stream, have one plan, for all that makes them.

    Parameters
    ----------
    cost : {"weights", "activations"}, default="weights"
        The Euclidean distance of what makes two units (their weights, biases and gains), or of their activations on
        data, of which no labels are needed.
    where : {"pre", "post"}, default="pre"
        Whether to compare activations before or after the non-linearity; see :class:`ActivationMatching`.
    masses : {"uniform", "importance"}, default="uniform"
        How much mass units have: all the same, or in proportion to the size of the weights that make them.
    reg : float, optional
        Strength of the entropy, as a share of the mean cost; a larger one mixes more units, and the limit is the mean
        of all. The plan is exact when omitted.
    max_iter : int, default=1000
        Steps of Sinkhorn's iteration, at most.
    tol : float, default=1e-3
        Its end: how far the masses may be off, in total. A warning says where it was not reached.
    n_batches : int, optional
        How many batches to compare activations on; all when omitted.

    Notes
    -----
    The hidden layers of the state may have other widths than those of the reference, of which the transported state
    then has the widths. Units are shared out, so that its function is kept only where units are copies that share what
    reads them. Groups that no matrix can mix, such as the channels of attention heads, need one width. To compare
    activations, a copy of the module is resized.

    For each group of n units, n² products of the weights of a unit, and an assignment problem of at most n³ steps, a
    linear program where masses or widths differ (a tenth to a third of a second for 512 units), or n² a step of
    Sinkhorn's iteration, which is done in the log domain. The published code transports the outputs, too, and knows no
    biases; both is set right here. Heads of attention are matched one to one, and the channels in them are transported.

    References
    ----------
    Singh & Jaggi, "Model fusion via optimal transport", NeurIPS 2020, arXiv:1910.05653. Cuturi, "Sinkhorn distances",
    NeurIPS 2013, arXiv:1306.0895. Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized transport
    problems", SIAM J. Sci. Comput. 41, 2019, arXiv:1610.06519.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import OTFusion
    >>> from skfusion.symmetry import Symmetry
    >>> axes = {"0.weight": ("hidden", None), "1.weight": (None, "hidden")}
    >>> a = {"0.weight": torch.randn(8, 3), "1.weight": torch.randn(2, 8)}
    >>> symmetry = Symmetry.of_axes(axes, a)
    >>> b = symmetry.permute(symmetry.sample(0), a)
    >>> alignment = OTFusion()(b, a, symmetry)
    >>> torch.equal(alignment.apply(b)["1.weight"], a["1.weight"])
    True
    >>> bool(OTFusion(reg=0.1)(b, a, symmetry).describe()["sum_error"].max() < 1e-9)
    True
    """

    takes_widths: ClassVar[bool] = True
    _test_sets = (
        {},
        {"cost": "activations", "where": "post"},
        {"masses": "importance"},
        {"reg": 0.01, "max_iter": 20000},
    )

    def __init__(
        self,
        cost: str = "weights",
        where: str = "pre",
        masses: str = "uniform",
        reg: float | None = None,
        max_iter: int = 1000,
        tol: float = 1e-3,
        n_batches: int | None = None,
    ):
        self.cost = cost
        self.where = where
        self.masses = masses
        self.reg = reg
        self.max_iter = max_iter
        self.tol = tol
        self.n_batches = n_batches

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> Transport:
        """Return the transport; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        self._check(symmetry, objective)
        given, (own, symmetry) = symmetry, symmetries_of(symmetry, state, reference)
        planner = Planner(self.reg, self.max_iter, self.tol)
        fusion = _Fusion(Makers(state, reference, symmetry, own), planner, self.masses == "importance")
        with torch.no_grad():
            if self.cost == "activations" and objective is not None:
                sides = sides_of(objective, given, own, symmetry)
                self._by_activations(fusion, state, reference, objective, sides)
            fusion.by_weights()
        planner.warn()
        return Transport(fusion.maps, own, matched=planner.costs)

    def _check(self, symmetry: Symmetry, objective: Objective | None) -> None:
        for name, known in (
            ("cost", ("weights", "activations")),
            ("where", ("pre", "post")),
            ("masses", ("uniform", "importance")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {known[0]!r} or {known[1]!r}; got {getattr(self, name)!r}.")
        if self.reg is not None and not (isinstance(self.reg, Real) and 0 < self.reg < float("inf")):
            raise ValueError(f"reg must be above 0, or None for the exact plan; got {self.reg!r}.")
        if self.max_iter < 1 or not self.tol > 0:
            raise ValueError(f"max_iter is at least 1 and tol above 0; got {self!r}.")
        if self.cost == "activations" and objective is None:
            raise ValueError("OTFusion(cost='activations') compares activations on data: give an objective.")
        if self.cost == "activations" and symmetry.groups and not symmetry.sites:
            raise ValueError(
                "The symmetry knows no activations: find it by symmetry_of(module, example_inputs), or give "
                "cost='weights'."
            )

    def _by_activations(
        self, fusion: _Fusion, state: State, reference: State, objective: Objective, sides: Sides | None
    ) -> None:
        """Transport the groups that are observed; each pass those that are observed apart from others."""
        with ExitStack() as modes:
            for module in [objective.module] if sides is None else sides[:2]:
                modes.enter_context(evaluating(module))
            while views := fusion.clear_views():
                # only a permutation leaves activations as they were
                square = {g: m for g, m in fusion.maps.items() if g not in fusion.unequal}
                moved = Transport(square, fusion.own).permutations().apply(state)
                how = Distance, self.where, self.n_batches
                distances = {g: -s for g, s in similarities(moved, reference, views, objective, *how, sides).items()}
                if not fusion.by_distances(distances):
                    return


class _Fusion:
    """The maps of two networks' units so far, by group."""

    def __init__(self, makers: Makers, planner: Planner, by_size: bool):
        self.makers, self.planner, self.by_size = makers, planner, by_size
        self.symmetry, self.groups, self.own = makers.symmetry, makers.groups, makers.own
        self.unequal = {g for g, group in self.groups.items() if self.own.groups[g].size != group.size}
        self.maps: dict[str, LinearMap] = {}

    def take(self, plans: Plans) -> None:
        """Keep plans as maps."""
        self.maps |= dict(Transport.from_plans(plans, self.own))

    def clear_views(self) -> list[View]:
        """Return the views of groups that are left, at sites where all others are matched one to one."""
        views = clear_views(self.symmetry, self.maps)
        return [v for v in views if not self.unequal & groups_at(v.site) - {v.group.name}]

    def by_distances(self, distances: Mapping[str, np.ndarray]) -> bool:
        """Transport groups by given distances, (n_combinations, n_to, n_from); return whether there were any left."""
        before = len(self.maps)
        for name, group in self.groups.items():
            inner = [g for g in self.makers.inner[name] if g in distances and g not in self.maps]
            sizes = [self.groups[c].size for c in group.context]
            if inner and name not in self.maps:
                shapes = {g: (group.size, self.groups[g].size) * 2 for g in inner}
                pairs = {g: np.square(distances[g]).reshape(shapes[g]) for g in inner}
                alone = np.square(distances[name][0]) if name in distances else None
                self.take(self.planner.nested(name, pairs, alone))
            elif inner:  # the outer units are matched already, so unit i is compared with unit i
                for g in inner:
                    cost = distances[g].reshape((group.size, self.groups[g].size) * 2)
                    units = np.arange(group.size)
                    self.take({g: self.planner.plan(g, cost[units, :, units])})
            elif name in distances and name not in self.maps and not is_nested(group, self.groups):
                cost = distances[name].reshape(*sizes, group.size, self.own.groups[name].size)
                self.take({name: self.planner.plan(name, cost, *self._masses(name))})
        return len(self.maps) > before

    def by_weights(self) -> None:
        """Transport the groups that are left, always the one of which most of what makes it is known.

        Some of what makes the units of a residual stream comes later in the network: such groups are transported once
        more, by all that makes them, and so is what follows.
        """
        makers, order, partly = self.makers, list[str](), False
        while left := [
            g for g, group in self.groups.items() if g not in self.maps and {*group.context} <= self.maps.keys()
        ]:
            name = max(left, key=lambda g: makers.size(makers.usable(g, self.maps)) / max(1, makers.size(makers.of(g))))
            terms = makers.usable(name, self.maps)
            partly |= len(terms) < len(makers.of(name))
            order.append(name)
            self._one(name, terms)
        for name in order if partly else ():
            self._one(name, makers.usable(name, self.maps))

    def _one(self, name: str, terms: Sequence[Term]) -> None:
        """Transport a group, with those that are nested in it where these can be told from one another."""
        group, inner = self.groups[name], {*self.makers.inner[name]}
        pairs = {}
        for g in self.makers.inner[name]:
            of_g = [t for t in terms if {*t.block.groups} & inner == {g}]
            compared = self.makers.compare([name, g], of_g, self.maps, {name, *inner})
            if compared is not None:
                pairs[g] = compared
        rest = [t for t in terms if not {*t.block.groups} & inner]
        compared = self.makers.compare([*group.context, name], rest, self.maps, {name, *inner})
        if pairs:
            self.take(self.planner.nested(name, pairs, compared))
        elif compared is not None:
            c = "abcdef"[: len(group.context)]  # outer units are mapped already, so that unit i is compared with unit i
            squares = np.einsum(f"{c}y{c}z->{c}yz", compared)
            self.take({name: self.planner.plan(name, np.sqrt(squares), *self._masses(name))})
        else:  # nothing tells its units apart
            lead, n, m = [self.groups[c].size for c in group.context], self.own.groups[name].size, group.size
            self.take({name: np.broadcast_to(exact(np.zeros((n, m))), (*lead, n, m))})

    def _masses(self, name: str) -> list[np.ndarray | None]:
        """Return the masses of the units of the state and of the reference; None where all have the same."""
        if not self.by_size or self.groups[name].context or not self.makers.terms[name]:
            return [None, None]
        sizes = [np.sqrt(squares) for squares in self.makers.squared_sizes(name)]
        floors = (np.maximum(s, _LEAST_MASS * s.mean() + np.finfo(float).tiny) for s in sizes)
        return [s / s.sum() for s in floors]
