"""Laws of aligners.

What an alignment by permutations owes exactly (the function is kept, a permuted copy is brought back bit for bit), a
soft one owes where the two networks are one and the same, up to a rest that its entropy leaves; what it owes for any
pair is that the rows of its maps sum to 1: each new unit is a mean, and all that is read of an old one is read.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import clone

from skfusion.align import Aligner, Alignment, PermutationAlignment, Transport
from skfusion.objective import Batch, Objective
from skfusion.state import State, distance
from skfusion.symmetry import Symmetry
from skfusion.testing import _problems as problems

_DEPTHS = (1, 3)
_REST = 1e-6


def aligned(component: Aligner, state: State, reference: State, data: Objective, symmetry: Symmetry) -> Alignment:
    """Return the alignment that a copy of the component returns."""
    return clone(component)(state, reference, symmetry, data)


def is_soft(alignment: Alignment) -> bool:
    """Return whether an alignment mixes units."""
    return isinstance(alignment, Transport) and not alignment.is_permutation


def outputs(data: Objective, state: State) -> torch.Tensor:
    """Return the outputs of a state for all inputs."""
    with torch.no_grad():
        return torch.cat([data.forward(state, batch.x) for batch in data.batches()])


def check_permutations_are_of_every_group(component: Aligner) -> None:
    """An alignment by permutations has one for every group of the symmetry, and nothing else."""
    for (a, b, _), symmetry, data in map(problems.networks, _DEPTHS):
        alignment = aligned(component, b, a, data, symmetry)
        if isinstance(alignment, PermutationAlignment):
            assert alignment.keys() == symmetry.groups.keys(), f"There are permutations of {[*alignment]}."
            for name, expected in symmetry.identity().items():
                p = alignment[name]
                assert np.array_equal(np.sort(p, -1), expected), f"{p} is no permutation of {name!r}."


def check_alignment_describes_every_group(component: Aligner) -> None:
    """The table of an alignment has a row for each group of units."""
    for (a, b, _), symmetry, data in map(problems.networks, _DEPTHS):
        rows = len(aligned(component, b, a, data, symmetry).describe())
        assert rows == len(symmetry.groups), f"describe() has {rows} rows for {len(symmetry.groups)} groups."


def check_alignment_keeps_the_function(component: Aligner) -> None:
    """The aligned state computes what the state computes, unless units are mixed."""
    for (a, b, _), symmetry, data in map(problems.networks, _DEPTHS):
        alignment = aligned(component, b, a, data, symmetry)
        gap = float((outputs(data, alignment.apply(b)) - outputs(data, b)).abs().max())
        assert gap <= 1e-9 or is_soft(alignment), f"The outputs of the aligned state differ by {gap:.3g}."


def check_maps_have_rows_that_sum_to_one(component: Aligner) -> None:
    """A transport has a map for every group; each new unit is a mean of old ones, each of which is read as before."""
    for (a, b, _), symmetry, data in map(problems.networks, _DEPTHS):
        alignment = aligned(component, b, a, data, symmetry)
        if isinstance(alignment, Transport):
            assert alignment.keys() == symmetry.groups.keys(), f"There are maps of {[*alignment]}."
            for name, error in alignment.sum_errors().items():
                assert error <= 1e-9, f"The rows of the map of {name!r} are {error:.3g} from a sum of 1."


def check_alignment_with_itself_is_the_identity(component: Aligner) -> None:
    """A state that is aligned with itself stays as it is."""
    for (a, *_), symmetry, data in map(problems.networks, _DEPTHS):
        alignment = aligned(component, dict(a), a, data, symmetry)
        gap = distance(alignment.apply(a), a)
        assert gap <= _REST * is_soft(alignment), f"A state that is aligned with itself moves by {gap:.3g}."


def check_planted_permutation_is_recovered(component: Aligner) -> None:
    """A copy with its hidden units in another order is brought back exactly."""
    for (a, *_), symmetry, data in map(problems.networks, _DEPTHS):
        for seed in range(3):
            planted = symmetry.permute(symmetry.sample(seed), a)
            alignment = aligned(component, planted, a, data, symmetry)
            gap = distance(alignment.apply(planted), a)
            assert gap <= _REST * is_soft(alignment), (
                f"A permuted copy of the reference is {gap:.3g} from it after the alignment."
            )


def check_distance_never_grows(component: Aligner) -> None:
    """A noisy copy whose units are in another order is nearer to the reference than before, unless units are mixed."""
    (a, *_), symmetry, data = problems.networks(3)
    generator = torch.Generator().manual_seed(5)
    noisy = {k: v + 0.05 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in a.items()}
    for perms in (symmetry.identity(), symmetry.sample(0)):
        state = symmetry.permute(perms, noisy)
        before = distance(state, a)
        alignment = aligned(component, state, a, data, symmetry)
        after = distance(alignment.apply(state), a)
        assert after <= before * (1 + 1e-9) or is_soft(alignment), (
            f"The distance grows from {before:.4g} to {after:.4g}."
        )


def check_copies_are_aligned_with_one_another(component: Aligner) -> None:
    """Copies of a state with their units in different orders are equal after ``align_all``, and compute the same."""
    (a, *_), symmetry, data = problems.networks(3)
    copies = [symmetry.permute(symmetry.sample(seed), a) for seed in range(4)]
    alignments = clone(component).align_all(copies, symmetry, data)
    moved = [alignment.apply(state) for alignment, state in zip(alignments, copies, strict=True)]
    for k, (state, alignment) in enumerate(zip(moved, alignments, strict=True)):
        gap = distance(state, moved[0])
        assert gap <= _REST * is_soft(alignment), f"Copies 0 and {k} are {gap:.3g} apart after the alignment."
    gap = float((outputs(data, moved[0]) - outputs(data, a)).abs().max())
    assert gap <= 1e-9 or is_soft(alignments[0]), f"The outputs of the aligned copies differ by {gap:.3g}."


def check_alignment_does_not_depend_on_the_batches(component: Aligner) -> None:
    """Rows in one batch, in many, or in another order, and weights or repetitions in their place, give the same."""
    for (a, b, _), symmetry, data in map(problems.networks, _DEPTHS):
        x = torch.cat([batch.x for batch in data.batches() if isinstance(batch.x, torch.Tensor)])
        weight = torch.arange(len(x)) % 3
        repeated = [Batch(x.repeat_interleave(weight, 0), torch.zeros(int(weight.sum())))]
        weighted = [Batch(x[i : i + 9], torch.zeros(len(x[i : i + 9])), weight[i : i + 9]) for i in range(0, len(x), 9)]
        for pair in (([Batch(x, torch.zeros(len(x)))], list(data.batches())[::-1]), (repeated, weighted)):
            one, other = (aligned(component, b, a, problems.fed(data, rows), symmetry).apply(b) for rows in pair)
            gap = distance(one, other)
            assert gap == 0, f"The aligned states are {gap:.3g} apart with the rows in other batches."
