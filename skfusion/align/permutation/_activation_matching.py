r"""Activation matching: units are alike that do alike things on data.

For a group of n units with activations :math:`a_i` and :math:`b_j` in the two networks, the permutation is that of

.. math:: \max_\pi \; \sum_i C_{i \pi(i)}

where C is the correlation of the activations, their inner product from a common origin (whose maximum is the minimum of
the squared distance) or their mutual information. Where a group is seen at several places, as in a residual stream, C
is averaged.

References
----------
Li et al., "Convergent learning: do different neural networks learn the same representations?", ICLR 2016,
arXiv:1511.07543. Tatro et al., "Optimizing mode connectivity via neuron alignment", NeurIPS 2020, arXiv:2009.02439.
Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836 (l2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skfusion._batches import counting, mapped, n_rows, without_single_rows
from skfusion.align._base import Aligner, Alignment
from skfusion.align.permutation._activation_sites import View, chosen, clear_views, mean_worth, solved
from skfusion.align.permutation._evidence import MEASURES, Evidence
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._samples import Layout, layouts, sample_keys, samples_of
from skfusion.align.permutation._weight_matching import anchor, sweeps
from skfusion.objective import Objective, evaluating
from skfusion.state import State, check_compatible
from skfusion.symmetry import Site, Symmetry
from skfusion.tracing import reading

_MAX_SWEEPS = 100


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
    problem of n³ at most for each group. Memory is n² for each place where a group is seen, and the activations of both
    networks for one batch; for mutual information, 5000 values of each unit besides. Units whose activations are mixed
    with those of others that are not matched yet are matched in a further pass; those that are seen nowhere by
    themselves, by their weights.

    How the data is cut into batches, and their order, change nothing but the rounding. Sample weights count as
    repetitions do; places where no axis counts samples, or samples times tokens, are then left out.

    References
    ----------
    Li et al., "Convergent learning: do different neural networks learn the same representations?", ICLR 2016,
    arXiv:1511.07543. Tatro et al., "Optimizing mode connectivity via neuron alignment", NeurIPS 2020,
    arXiv:2009.02439.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import ActivationMatching
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> from skfusion.tracing import symmetry_of
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).eval()
    >>> x = torch.randn(100, 3)
    >>> symmetry = symmetry_of(net, x)
    >>> a = net.state_dict()
    >>> b = symmetry.permute(symmetry.sample(0), a)
    >>> data = ModuleObjective(net, lambda: [Batch(x, x)], lambda s: 0.0, lambda s: 0.0)
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
        if symmetry.groups and not symmetry.sites:
            raise ValueError(
                "The symmetry knows no activations: find it by symmetry_of(module, example_inputs), or use "
                "WeightMatching."
            )
        found = Alignment(symmetry.identity())
        settled: set[str] = set()
        with evaluating(objective.module), torch.no_grad():
            while views := clear_views(symmetry, settled):
                here = symmetry.permute(found, state)
                worth = self._worth(here, reference, views, objective)
                step = solved(symmetry, worth, settled)
                if not step:
                    break
                found = Alignment(symmetry.compose(found, step), matched={**found.matched, **step.matched})
                settled |= step.keys()
            if not symmetry.groups.keys() - settled:
                return found
            match = Match(symmetry.permute(found, state), reference, symmetry)
            anchor(match, settled)  # what is seen nowhere by itself is matched by its weights
            [*sweeps(match, _MAX_SWEEPS, np.random.default_rng(0), settled)]
        return Alignment(symmetry.compose(found, match.perms), matched=found.matched)

    def _worth(
        self, state: State, reference: State, views: Sequence[View], objective: Objective
    ) -> dict[str, np.ndarray]:
        """Return how alike units are, by group, over the data."""
        measure = MEASURES[self.measure]
        seen: list[Evidence] = []
        known: dict[Site, Layout] = {}
        for batch in without_single_rows(counting(islice(objective.batches(), self.n_batches))):
            sites = [*dict.fromkeys(view.site for view in views)]
            a, b = (_activations(objective, s, batch.x, sites) for s in (reference, state))
            if not known and (measure.needs_keys or batch.weight is not None):
                rolled = _activations(objective, reference, mapped(batch.x, lambda t: t.roll(1, 0)), sites)
                known = layouts(a, rolled, n_rows(batch.x))
            there = a if batch.weight is None else {site: a[site] for site in known if site in a}
            if not seen:
                views = chosen(views, there, self.where)
                seen = [measure() for _ in views]
            keys = sample_keys(batch.x) if measure.needs_keys else None
            for view, evidence in zip(views, seen, strict=True):
                if view.site in there:
                    of = samples_of(view, a[view.site], batch, known.get(view.site), keys)
                    evidence.add(view.cut(a[view.site]), view.cut(b[view.site]), *of)
        if not seen and views:
            raise ValueError(
                f"{self!r} has seen no batch: the objective has none with rows of positive weight, or n_batches is 0."
            )
        return mean_worth(views, seen)


def _activations(objective: Objective, state: State, x: Any, sites: Sequence[Site]) -> dict[Site, Tensor]:
    found: dict[Site, Tensor] = {}
    own = dict(objective.module.named_parameters(remove_duplicate=False))  # torch chooses kernels by requires_grad, too
    state = {k: t.detach().requires_grad_(k in own and own[k].requires_grad) for k, t in state.items()}
    with reading(sites, found.__setitem__):
        objective.forward(state, x)
    return found
