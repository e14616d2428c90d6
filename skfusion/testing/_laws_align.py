"""Laws of aligners."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import clone

from skfusion.align import Aligner
from skfusion.objective import Batch, Objective
from skfusion.state import State, distance
from skfusion.symmetry import Permutations, Symmetry
from skfusion.testing import _problems as problems

_DEPTHS = (1, 3)


def aligned(component: Aligner, state: State, reference: State, data: Objective, symmetry: Symmetry) -> Permutations:
    """Return what a copy of the component finds."""
    return clone(component)(state, reference, symmetry, data)


def outputs(data: Objective, state: State) -> torch.Tensor:
    """Return the outputs of a state for all inputs."""
    with torch.no_grad():
        return torch.cat([data.forward(state, batch.x) for batch in data.batches()])


def check_alignment_is_a_permutation_of_every_group(component: Aligner) -> None:
    """Every group of the symmetry has a permutation of its units, and there is nothing else."""
    for depth in _DEPTHS:
        (a, b, _), symmetry, data = problems.networks(depth)
        found = aligned(component, b, a, data, symmetry)
        assert found.keys() == symmetry.groups.keys(), f"There are permutations of {[*found]}."
        for name, p in found.items():
            expected = symmetry.identity()[name]
            assert np.array_equal(np.sort(np.asarray(p), -1), expected), f"{p} is no permutation of {name!r}."


def check_alignment_keeps_the_function(component: Aligner) -> None:
    """The aligned state computes what the state computes."""
    for depth in _DEPTHS:
        (a, b, _), symmetry, data = problems.networks(depth)
        moved = symmetry.permute(aligned(component, b, a, data, symmetry), b)
        gap = float((outputs(data, moved) - outputs(data, b)).abs().max())
        assert gap <= 1e-9, f"The outputs of the aligned state differ by {gap:.3g}."


def check_alignment_with_itself_is_the_identity(component: Aligner) -> None:
    """A state is in its own frame."""
    for depth in _DEPTHS:
        (a, *_), symmetry, data = problems.networks(depth)
        found = aligned(component, dict(a), a, data, symmetry)
        for name, p in symmetry.identity().items():
            assert np.array_equal(found[name], p), f"Group {name!r} of a state is moved by {found[name]} to itself."


def check_planted_permutation_is_recovered(component: Aligner) -> None:
    """A copy with its hidden units in another order is brought back exactly."""
    for depth in _DEPTHS:
        (a, *_), symmetry, data = problems.networks(depth)
        for seed in range(3):
            planted = symmetry.sample(seed)
            found = aligned(component, symmetry.permute(planted, a), a, data, symmetry)
            for name, p in symmetry.invert(planted).items():
                assert np.array_equal(found[name], p), f"Group {name!r} is not recovered: {found[name]}, not {p}."


def check_distance_never_grows(component: Aligner) -> None:
    """A noisy copy whose units are in another order is nearer to the reference than before."""
    (a, *_), symmetry, data = problems.networks(3)
    generator = torch.Generator().manual_seed(5)
    noisy = {k: v + 0.05 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in a.items()}
    for perms in (symmetry.identity(), symmetry.sample(0)):
        state = symmetry.permute(perms, noisy)
        before = distance(state, a)
        after = distance(symmetry.permute(aligned(component, state, a, data, symmetry), state), a)
        assert after <= before * (1 + 1e-9), f"The distance grows from {before:.4g} to {after:.4g}."


def check_frame_is_common(component: Aligner) -> None:
    """Copies of a state with their units in unlike orders are the same in one frame, which keeps their function."""
    (a, *_), symmetry, data = problems.networks(3)
    copies = [symmetry.permute(symmetry.sample(seed), a) for seed in range(4)]
    perms = clone(component).frame(copies, symmetry, data)
    moved = [symmetry.permute(p, s) for p, s in zip(perms, copies, strict=True)]
    for k, state in enumerate(moved):
        gap = distance(state, moved[0])
        assert gap == 0, f"Copies 0 and {k} are {gap:.3g} apart in their common frame."
    gap = float((outputs(data, moved[0]) - outputs(data, a)).abs().max())
    assert gap <= 1e-9, f"The outputs in the common frame differ by {gap:.3g}."


def check_alignment_does_not_depend_on_the_batches(component: Aligner) -> None:
    """Rows in one batch, in many, or in another order, and weights or repetitions in their place, give the same."""
    for depth in _DEPTHS:
        (a, b, _), symmetry, data = problems.networks(depth)
        x = torch.cat([batch.x for batch in data.batches() if isinstance(batch.x, torch.Tensor)])
        weight = torch.arange(len(x)) % 3
        repeated = [Batch(x.repeat_interleave(weight, 0), torch.zeros(int(weight.sum())))]
        weighted = [Batch(x[i : i + 9], torch.zeros(len(x[i : i + 9])), weight[i : i + 9]) for i in range(0, len(x), 9)]
        for one, other in (([Batch(x, torch.zeros(len(x)))], list(data.batches())[::-1]), (repeated, weighted)):
            expected, found = (aligned(component, b, a, problems.fed(data, rows), symmetry) for rows in (one, other))
            for name, p in expected.items():
                assert np.array_equal(found[name], p), (
                    f"Group {name!r} goes to {found[name]} in other batches, not {p}."
                )


LAWS = [
    check_alignment_is_a_permutation_of_every_group,
    check_alignment_keeps_the_function,
    check_alignment_with_itself_is_the_identity,
    check_planted_permutation_is_recovered,
    check_distance_never_grows,
    check_frame_is_common,
    check_alignment_does_not_depend_on_the_batches,
]
