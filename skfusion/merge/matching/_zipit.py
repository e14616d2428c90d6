"""ZipIt: merge the most similar units of all networks, also within one (Stoica et al., 2024)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np
from torch import nn

from skfusion.merge._base import Merger
from skfusion.merge.matching._correlations import correlations
from skfusion.merge.matching._networks import Maps, Networks, read_networks
from skfusion.merge.matching._zip import merge_and_unmerge, zipped
from skfusion.objective import Objective
from skfusion.state import Fused, State
from skfusion.symmetry import LinearMap, Symmetry

_MIXING = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)


class ZipIt(Merger):
    r"""Merge the units of each layer that behave most alike on data, of different members or of the same one.

    The units of a layer of all K members stand side by side, and the two whose activations correlate most become one,
    again and again. A merged unit is made as the mean of its units, :math:`M_k`, and read where each of them was,
    :math:`U_k`, so that for the layers below and here

    .. math:: W = \sum_k M_k W_k U_k^{\text{below}}

    Unlike a permutation this keeps what only one member has learned: units without a partner merge with others of
    their own network, or stay alone.

    Parameters
    ----------
    alpha : float, default=0.3
        What the similarity of a merged unit to others is multiplied by, where the union would hold several units of one
        member; 0 forbids such unions, and of three members and more may then leave too many units.
    budget : float, default=0.125
        The share of merges, for each member, that may join units of this member alone.
    ratio : float, optional
        The share of all units of a layer that is merged away. With 0 all units stay, and the network is as wide as all
        members together; as many as the first member has are left when omitted.
    until : str, optional
        Name of the layer from which on nothing is merged: from there on the members stand side by side, and their
        outputs are averaged (partial zip). All layers are merged when omitted.

    Notes
    -----
    Labels are not used; the data should have rows of all that the members know. Members may have hidden layers of
    different widths. Where the result has other widths than the module, it comes with a module of its own. Networks
    with BatchNorm need its statistics estimated again, as a soup does by default.

    A pass of each member over the data, and n² products an activation for a layer whose units, of all members, are n;
    merging them takes up to n³ steps, and n² memory. Similarities that are negative are not multiplied by alpha, which
    would raise them. For three members and more a union of one unit each is no repetition, so that equal members merge
    to what they are. Groups of units that no matrix of weights can mix, and those that are seen nowhere alone, are
    averaged in their order; ``merge_report_["left_out"]`` names them.

    References
    ----------
    Stoica et al., "ZipIt! Merging models from different tasks without training", ICLR 2024, arXiv:2305.03053.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import ZipIt
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> _ = torch.manual_seed(0)
    >>> a, b = (nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).eval() for _ in range(2))
    >>> x = torch.randn(50, 3)
    >>> data = ModuleObjective(a, lambda: [Batch(x, torch.zeros(50))])
    >>> states = [a.state_dict(), b.state_dict()]
    >>> tuple(ZipIt()(states, None, data)["0.weight"].shape)
    (8, 3)
    >>> state, both = ZipIt(ratio=0.0)(states, None, data)
    >>> _ = both.load_state_dict(state)
    >>> torch.allclose(both(x), (a(x) + b(x)) / 2, atol=1e-6)
    True
    """

    order_dependent: ClassVar[bool] = True  # units stand in the order of the first member's
    needs_objective: ClassVar[bool] = True
    takes_widths: ClassVar[bool] = True
    _test_sets = ({}, {"ratio": 0.0}, {"alpha": 1.0, "budget": 1.0})

    def __init__(self, alpha: float = 0.3, budget: float = 0.125, ratio: float | None = None, until: str | None = None):
        self.alpha = alpha
        self.budget = budget
        self.ratio = ratio
        self.until = until

    def __call__(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> State | Fused:
        """Return the merged network, with its module where it has other widths; see :meth:`Merger.__call__`."""
        self.check()
        networks = read_networks(self, states, objective)
        assert objective is not None
        return zip_networks(self, networks, objective)

    def check(self) -> None:
        """Raise ``ValueError`` where a parameter is wrong."""
        for name in ("alpha", "budget", "ratio"):
            value = getattr(self, name)
            if not (value is None and name == "ratio") and not 0 <= value <= 1:
                raise ValueError(f"{name} of ZipIt must lie between 0 and 1; got {value!r}.")
        if self.ratio == 1:
            raise ValueError("With ratio=1 no units would be left: give less than 1.")

    def _maps(self, networks: Networks, objective: Objective, heads: Collection[str]) -> list[Maps]:
        """Return how the units of each member become those of the result."""
        apart = self._apart(networks.module, networks.symmetry) | {*heads}
        similar = correlations(networks, objective)
        unseen = dict.fromkeys(networks.symmetry.groups.keys() - similar - apart, "its units are seen nowhere alone")
        objective.report("left_out", {**networks.left_out, **unseen})
        maps: list[dict[str, LinearMap]] = [{} for _ in networks.states]
        widths = {}
        for group in networks.symmetry.groups:
            sizes = [of[group] for of in networks.sizes]
            if group in apart:
                cluster = np.arange(sum(sizes))
            elif group in similar:
                cluster = self._clusters(similar[group], sizes)
            else:
                cluster = np.concatenate([np.arange(n) for n in sizes])
                if len({*sizes}) > 1:
                    raise ValueError(
                        f"Members have {sizes} units in group {group!r}, which are seen nowhere alone, so they cannot "
                        "be merged: use Barycenter, which compares weights."
                    )
            widths[group] = int(cluster.max()) + 1
            for k, (made, read) in enumerate(merge_and_unmerge(cluster, sizes)):
                maps[k][group] = LinearMap(made, read)
        objective.report("widths", widths)
        return [*maps]

    def _clusters(self, similarity: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
        total = sum(sizes)
        n_left = sizes[0] if self.ratio is None else max(1, round((1 - self.ratio) * total))
        owner = np.repeat(np.arange(len(sizes)), sizes)
        return zipped(similarity, owner, n_left, self.alpha, self.budget)

    def _apart(self, module: nn.Module, symmetry: Symmetry) -> set[str]:
        """Return the groups that are made by the layer from which on nothing is merged, or behind it."""
        if self.until is None:
            return set()
        parts = dict(module.named_modules())
        here = [s.index for s in symmetry.sites if f"{s.where}.".startswith(f"{self.until}.")]
        if self.until not in parts or not here:
            layers = dict.fromkeys(s.where for s in symmetry.sites)
            raise ValueError(f"until={self.until!r} is no layer that makes or reads units; these are {[*layers]}.")
        first: dict[str, int] = {}
        for site in symmetry.sites:
            for group in (g for blocks in site.axes for b in blocks for g in b.groups if site.argument is None):
                first[group] = min(first.get(group, site.index), site.index)
        apart = {g for g, index in first.items() if index >= min(here)}
        for name, part in parts.items():
            if isinstance(part, _MIXING) and (mixed := _groups_of(symmetry, name) & apart):
                raise ValueError(
                    f"{type(part).__name__} {name!r} normalises over units of group {min(mixed)!r}, so those of "
                    f"several members cannot stand side by side: let until name a later layer than {self.until!r}."
                )
        return apart


def zip_networks(merge: ZipIt, networks: Networks, objective: Objective, heads: Collection[str] = ()) -> State | Fused:
    """Return networks merged, but for some groups of units, which stay side by side."""
    maps = merge._maps(networks, objective, heads)
    return networks.fused(maps, [1 / len(networks.states)] * len(networks.states))


def _groups_of(symmetry: Symmetry, layer: str) -> set[str]:
    return {
        g
        for name, axes in symmetry.axes.items()
        if name.rpartition(".")[0] == layer
        for blocks in axes
        for b in blocks
        for g in b.groups
    }
