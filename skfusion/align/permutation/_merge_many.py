"""MergeMany: many networks are aligned with one another, none of them as the reference (git re-basin, algorithm 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from skfusion.align._base import Aligner, Alignment, PermutationAlignment, given_symmetry
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._weight_matching import WeightMatching
from skfusion.objective import Objective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Permutations, Symmetry


class MergeMany(Aligner):
    r"""Align many networks by their weights, so that their mean is near to all of them.

    .. math:: \max_{\pi_1, \dots, \pi_K} \; \sum_{j < k} \langle \pi_j \theta_j, \pi_k \theta_k \rangle
       \quad\Longleftrightarrow\quad \min \; \sum_k \lVert \pi_k \theta_k - \bar\theta \rVert^2

    One group of one network at a time is moved to where it matches the sum of the others best. Two networks are matched
    as by :class:`WeightMatching`.

    Parameters
    ----------
    max_sweeps : int, default=100
        Passes over all groups of all networks, at most; a few are usual.
    random_state : int, default=0
        Seed of the order of groups and networks.

    Notes
    -----
    The start is a match of all networks with the first one; then a sweep costs as much as one of
    :class:`WeightMatching` for each of the K networks. K + 2 states are in memory.

    References
    ----------
    Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836
    (algorithm 3). Crisostomi et al., "C2M3: cycle-consistent multi-model merging", NeurIPS 2024, arXiv:2405.17897 (the
    objective).

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import MergeMany
    >>> from skfusion.symmetry import Permutations, Symmetry
    >>> a = {"0.weight": torch.randn(8, 3), "1.weight": torch.randn(2, 8)}
    >>> symmetry = Symmetry.of_axes({"0.weight": ("hidden", None), "1.weight": (None, "hidden")}, a)
    >>> copies = [symmetry.permute(symmetry.sample(k), a) for k in range(3)]
    >>> alignments = MergeMany().align_all(copies, symmetry)
    >>> first, *others = (alignment.apply(s)["0.weight"] for alignment, s in zip(alignments, copies))
    >>> all(torch.equal(other, first) for other in others)
    True
    """

    def __init__(self, max_sweeps: int = 100, random_state: int = 0):
        self.max_sweeps = max_sweeps
        self.random_state = random_state

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        pairwise = WeightMatching(max_sweeps=self.max_sweeps, random_state=self.random_state)
        return pairwise(state, reference, symmetry)

    def align_all(
        self, states: Sequence[State], symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> list[Alignment]:
        """Return permutations for each state; see :meth:`Aligner.align_all`."""
        symmetry = given_symmetry(self, symmetry)
        check_compatible(states)
        if len(states) < 3:
            return super().align_all(states, symmetry)
        first, *others = states
        start: list[Permutations] = [symmetry.identity(), *(self(state, first, symmetry) for state in others)]
        rng = np.random.default_rng(self.random_state)
        matches = [Match(symmetry.permute(p, s), first, symmetry) for p, s in zip(start, states, strict=True)]
        history = settled(matches, self.max_sweeps, rng)
        moved = [symmetry.compose(p, m.perms) for p, m in zip(start, matches, strict=True)]
        return [PermutationAlignment(perms, symmetry, history) for perms in moved]


def settled(matches: Sequence[Match], max_sweeps: int, rng: np.random.Generator) -> list[float]:
    """Move groups of networks until none moves; return what is maximised, at first and after each sweep."""
    with torch.no_grad():
        total = {n: torch.stack([m.b[n] for m in matches]).sum(0) for n in matches[0].a}
        history = [_agreement(matches)]
        for _ in range(max_sweeps):
            progress = False
            for g in rng.permutation([*matches[0].groups]):
                for k in rng.permutation(len(matches)):
                    progress |= _step(matches[k], str(g), total)
            history.append(_agreement(matches))
            if not progress:
                break
    return history


def _step(match: Match, group: str, total: State) -> bool:
    """Move a group of one network to where it matches the sum of the others best, and update the sum of all."""
    tensors = match.tensors_of([group, *match.inner[group]])
    others = {n: total[n] - match.b[n] for n in tensors}
    match.a.update(others)
    if not match.step(group):
        return False
    total.update({n: others[n] + match.b[n] for n in tensors})
    return True


def _agreement(matches: Sequence[Match]) -> float:
    r"""Return :math:`-\sum_k \lVert \theta_k - \bar\theta \rVert^2` up to the norms of the states, which stay."""
    value = 0.0
    for n in matches[0].a:
        total = torch.stack([m.b[n].double() for m in matches]).sum(0)
        value += float(total.square().sum()) / len(matches)
    return value
