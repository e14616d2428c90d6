r"""Activation matching: units are alike that do alike things on data.

For a group of n units with activations :math:`a_i` and :math:`b_j` in the two networks, the permutation is that of

.. math:: \max_\pi \; \sum_i C_{i \pi(i)}

where C is the correlation of the activations, their inner product (whose maximum is the minimum of the squared
distance) or their mutual information. Where a group is seen at several places, as in a residual stream, C is summed.

References
----------
Li et al., "Convergent learning: do different neural networks learn the same representations?", ICLR 2016,
arXiv:1511.07543. Tatro et al., "Optimizing mode connectivity via neuron alignment", NeurIPS 2020, arXiv:2009.02439.
Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836 (l2).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skfusion.align._assign import assigned, assigned_nested
from skfusion.align._base import Aligner, Alignment
from skfusion.align._evidence import MEASURES, Evidence
from skfusion.align._rows import rows
from skfusion.objective import Objective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Block, Group, Permutations, Site, Symmetry
from skfusion.tracing import reading


class ActivationMatching(Aligner):
    """Match units by what they do on data, which needs no labels.

    Parameters
    ----------
    measure : {"correlation", "l2", "mutual_information"}, default="correlation"
        How alike two units are. Correlation does not see their scale and offset, mutual information no monotone map of
        either; l2 does, and favours large activations.
    where : {"pre", "post"}, default="pre"
        Activations as layers give them, or, behind the non-linearity, as the next ones take them.
    n_batches : int, optional
        Batches to look at; all when omitted.

    Notes
    -----
    One pass of both networks over the data, n² products for each activation of a group of n units, and one assignment
    problem of n³ at most for each group. Memory is n² for each place where a group is seen.

    References
    ----------
    Li et al., "Convergent learning: do different neural networks learn the same representations?", ICLR 2016,
    arXiv:1511.07543. Tatro et al., "Optimizing mode connectivity via neuron alignment", NeurIPS 2020,
    arXiv:2009.02439.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import ActivationMatching
    >>> from skfusion.objective import Batch, Objective
    >>> from skfusion.tracing import symmetry_of
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).eval()
    >>> x = torch.randn(100, 3)
    >>> symmetry = symmetry_of(net, x)
    >>> a = net.state_dict()
    >>> b = symmetry.permute(symmetry.sample(0), a)
    >>> data = Objective(net, lambda: [Batch(x, x)], loss=lambda s: 0.0, score=lambda s: 0.0)
    >>> found = ActivationMatching()(b, a, symmetry, data)
    >>> torch.equal(symmetry.permute(found, b)["0.weight"], a["0.weight"])
    True
    """

    needs_objective: ClassVar[bool] = True

    def __init__(self, measure: str = "correlation", where: str = "pre", n_batches: int | None = None):
        self.measure = measure
        self.where = where
        self.n_batches = n_batches

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"measure": "l2", "where": "post"}
        yield {"measure": "mutual_information"}

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry, objective: Objective | None = None
    ) -> Alignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        if self.measure not in MEASURES:
            raise ValueError(f"measure must be one of {[*MEASURES]}; got {self.measure!r}.")
        if self.where not in ("pre", "post"):
            raise ValueError(f"where must be 'pre' or 'post'; got {self.where!r}.")
        if objective is None:
            raise ValueError("ActivationMatching compares activations on data: give an objective.")
        check_compatible([reference, state])
        views = _views(symmetry)
        if symmetry.groups and not views:
            raise ValueError(
                "The symmetry knows no activations: find it by symmetry_of(module, example_inputs), or use "
                "WeightMatching."
            )
        seen: list[Evidence] = []
        with _evaluating(objective.module):
            for k, batch in enumerate(objective.batches()):
                if k == self.n_batches:
                    break
                sites = [*dict.fromkeys(view.site for view in views)]
                a, b = (_activations(objective, s, batch.x, sites) for s in (reference, state))
                if not seen:
                    views = _chosen(views, a, self.where)
                    seen = [MEASURES[self.measure]() for _ in views]
                for view, evidence in zip(views, seen, strict=True):
                    if view.site in a and view.site in b:
                        evidence.add(view.cut(a[view.site]), view.cut(b[view.site]))
        return _solved(symmetry, views, seen)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, mode in modes.items():
            m.training = mode


class View(NamedTuple):
    """Where a group is looked at."""

    group: Group
    joint: bool
    """Whether units are compared across the units of the group that indexes them."""
    site: Site
    axis: int
    block: Block

    def cut(self, activation: Tensor) -> Tensor:
        """Return activations of units, shape (n_combinations, n_units, n_values); in one combination where joint."""
        found = rows(activation, self.site.axes, self.axis, self.block, [*self.group.context, self.group.name])
        return found.flatten(0, -2).unsqueeze(0) if self.joint else found.reshape(-1, *found.shape[-2:])


def _views(symmetry: Symmetry) -> list[View]:
    """Return all views of each group."""
    groups = symmetry.groups
    nested = {g.name: len(g.context) == 1 and not groups[g.context[0]].context for g in groups.values()}
    inner = {c: {g.name for g in groups.values() if g.context == (c,)} for c in groups if not groups[c].context}
    found = []
    for site in symmetry.sites:
        here = {g for blocks in site.axes for block in blocks for g in block.groups}
        for axis, blocks in enumerate(site.axes):
            for block in blocks:
                for g in block.groups:
                    if not inner.get(g, set()) & here and not block.within:  # else its inner units tell more
                        found.append(View(groups[g], nested[g], site, axis, block))
    return found


def _chosen(views: Sequence[View], there: Container[Site], where: str) -> list[View]:
    """Return the views on the asked side of the layers, or on the other one for groups that are seen only there."""
    found: dict[str, tuple[list[View], list[View]]] = {}
    for view in views:
        if view.site in there:
            side = 0 if (view.site.argument is None) == (where == "pre") else 1
            found.setdefault(view.group.name, ([], []))[side].append(view)
    return [view for asked, other in found.values() for view in (asked or other)]


def _activations(objective: Objective, state: State, x: Any, sites: Sequence[Site]) -> dict[Site, Tensor]:
    found: dict[Site, Tensor] = {}
    own = dict(objective.module.named_parameters(remove_duplicate=False))  # torch chooses kernels by requires_grad, too
    state = {k: t.detach().requires_grad_(k in own and own[k].requires_grad) for k, t in state.items()}
    with reading(sites, found.__setitem__):
        objective.forward(state, x)
    return found


def _solved(symmetry: Symmetry, views: Sequence[View], seen: Sequence[Evidence]) -> Alignment:
    """Assign units by what they are worth to one another, summed over views."""
    worth: dict[str, np.ndarray] = {}
    for view, evidence in zip(views, seen, strict=True):
        found = evidence.worth()
        if found is not None:
            worth[view.group.name] = worth.get(view.group.name, 0.0) + found
    perms = symmetry.identity()
    for name, group in symmetry.groups.items():
        pairs = {
            g.name: worth[g.name].reshape(group.size, g.size, group.size, g.size)
            for g in symmetry.groups.values()
            if g.context == (name,) and not group.context and g.name in worth
        }
        alone = worth.get(name)
        if pairs:
            perms.update(assigned_nested(pairs, None if alone is None else alone[0], name))
        elif alone is not None and not _is_inner(symmetry, group):
            perms[name] = np.stack([assigned(w) for w in alone]).reshape(perms[name].shape)
    return Alignment(perms, matched=_matched(symmetry, perms, worth))


def _is_inner(symmetry: Symmetry, group: Group) -> bool:
    return len(group.context) == 1 and not symmetry.groups[group.context[0]].context


def _matched(symmetry: Symmetry, perms: Permutations, worth: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean worth of matched units, by group."""
    found = {}
    for name, values in worth.items():
        group, p = symmetry.groups[name], perms[name]
        if _is_inner(symmetry, group):
            outer = perms[group.context[0]]
            pairs = values.reshape(len(outer), group.size, len(outer), group.size)
            i, k = np.ogrid[: len(outer), : group.size]
            found[name] = float(pairs[i, k, outer[:, None], p].mean())
        else:
            found[name] = float(np.take_along_axis(values, p.reshape(*values.shape[:2], 1), 2).mean())
    for name in symmetry.groups.keys() - found.keys():  # heads are as alike as their channels
        inner = [found[g.name] for g in symmetry.groups.values() if g.context == (name,) and g.name in found]
        if inner:
            found[name] = float(np.mean(inner))
    return found
