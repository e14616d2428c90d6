"""Activation matching: units correspond whose activations on data are similar (Li et al., 2016)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from skfusion.align._base import Aligner, PermutationAlignment, given_symmetry
from skfusion.align.permutation._activation_sites import clear_views, mean_matched, solve
from skfusion.align.permutation._compare import similarities
from skfusion.align.permutation._evidence import MEASURES
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._weight_matching import anchor, sweeps
from skfusion.objective import Objective, evaluating
from skfusion.state import State, check_compatible
from skfusion.symmetry import Permutations, Symmetry

_MAX_SWEEPS = 100


class ActivationMatching(Aligner):
    r"""Match units by their activations on data; labels are not needed.

    For a group of n units with activations :math:`a_i` and :math:`b_j` in the two networks, the permutation is that of

    .. math:: \max_\pi \; \sum_i C_{i \pi(i)}

    where C is the correlation of the activations, their inner product about a common origin (whose maximum is the
    minimum of the squared distance) or their mutual information, averaged over the places where a group is observed.

    Parameters
    ----------
    measure : {"correlation", "l2", "mutual_information"}, default="correlation"
        The similarity of two units. Correlation ignores their scale and offset, mutual information any monotone map;
        l2 ignores neither, and favours large activations.
    where : {"pre", "post"}, default="pre"
        Whether to compare the outputs of layers, or, after the non-linearity, the inputs of the next layers.
    n_batches : int, optional
        How many batches to use; all when omitted.

    Notes
    -----
    One pass of both networks over the data, n² products for each activation of a group of n units, and one assignment
    problem of at most n³ steps for each group. Memory is n² for each place where a group is observed, and the
    activations of both networks for one batch; for mutual information also 5000 values of each unit. Units that share
    an activation with units that are not matched yet are matched in a further pass; those that are never observed
    separately are matched by their weights.

    The sizes and the order of the batches change only the rounding. Sample weights have the effect of repetitions;
    places where no axis counts samples, or samples times tokens, are then left out.

    References
    ----------
    Li et al., "Convergent learning: do different neural networks learn the same representations?", ICLR 2016,
    arXiv:1511.07543. Tatro et al., "Optimizing mode connectivity via neuron alignment", NeurIPS 2020,
    arXiv:2009.02439. Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023,
    arXiv:2209.04836 (l2).

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
    >>> alignment = ActivationMatching()(b, a, symmetry, data)
    >>> torch.equal(alignment.apply(b)["0.weight"], a["0.weight"])
    True
    """

    needs_objective: ClassVar[bool] = True
    _test_sets = ({}, {"measure": "l2", "where": "post"}, {"measure": "mutual_information"})

    def __init__(self, measure: str = "correlation", where: str = "pre", n_batches: int | None = None):
        self.measure = measure
        self.where = where
        self.n_batches = n_batches

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
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
        perms: Permutations = symmetry.identity()
        matched: dict[str, float] = {}
        settled: set[str] = set()
        with evaluating(objective.module), torch.no_grad():
            # Each pass matches the groups that are observed apart from unmatched ones; more are separate after it.
            while views := clear_views(symmetry, settled):
                moved = symmetry.permute(perms, state)
                how = MEASURES[self.measure], self.where, self.n_batches
                similarity = similarities(moved, reference, views, objective, *how)
                step = solve(symmetry, similarity, settled)
                if not step:
                    break
                perms = symmetry.compose(perms, step)
                matched |= mean_matched(symmetry, step, similarity)
                settled |= step.keys()
            if symmetry.groups.keys() - settled:  # never observed separately, so matched by their weights
                match = Match(symmetry.permute(perms, state), reference, symmetry)
                anchor(match, settled)
                [*sweeps(match, _MAX_SWEEPS, np.random.default_rng(0), settled)]
                perms = symmetry.compose(perms, match.perms)
        return PermutationAlignment(perms, symmetry, matched=matched)
