"""Soft permutations are permutations at the corners, and slopes are those of autograd."""

import numpy as np
import pytest
import torch
from align.networks import PROBLEMS, perceptron

from skfusion.align.permutation._soft import between, corners, mapped, places, slope, soft_groups
from skfusion.symmetry import Block, Group, Symmetry


def flattened(seed=0):
    """Return a state with copies of units, units of two groups on one axis, and a group on two axes; its symmetry."""
    generator = torch.Generator().manual_seed(seed)
    channels = (Block(("channels",), np.arange(12).reshape(4, 3).T[..., None].reshape(3, 4, 1)[..., 0]),)
    both = (Block(("channels", "places"), np.arange(8).reshape(1, 4, 2)),)
    axes = {
        "copies": (channels, ()),
        "both": ((), both),
        "square": ((Block(("channels",), np.arange(4)[None]),), (Block(("channels",), np.arange(4)[None]),)),
        "part": ((Block(("places",), np.array([[3, 1]])),),),
    }
    shapes = {"copies": (12, 2), "both": (2, 8), "square": (4, 4), "part": (5,)}
    state = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    return state, Symmetry([Group("channels", 4), Group("places", 2)], axes, shapes)


KINDS = {"flattened": flattened, **PROBLEMS}


@pytest.mark.parametrize("name", KINDS)
def test_corners_move_as_permutations_do(name):
    state, symmetry = KINDS[name]()
    perms = {g: symmetry.sample(3)[g] for g in soft_groups(symmetry)}
    maps = corners(symmetry, symmetry.complete(perms), next(iter(state.values())))
    expected = symmetry.permute(perms, state)
    for n in symmetry.axes:
        torch.testing.assert_close(mapped(state[n], symmetry, n, maps), expected[n])


def test_groups_on_which_others_depend_have_no_matrix():
    assert soft_groups(PROBLEMS["rows"]()[1]) == ["stream"]
    assert soft_groups(PROBLEMS["three layers"]()[1]) == ["h1", "h2", "h3"]


@pytest.mark.parametrize("name", KINDS)
def test_slopes_are_those_of_autograd(name):
    (state, symmetry), (toward, _) = KINDS[name](0), KINDS[name](1)
    generator = torch.Generator().manual_seed(2)
    sizes = {g: symmetry.groups[g].size for g in soft_groups(symmetry)}
    maps = {g: torch.rand(n, n, generator=generator, dtype=torch.float64).requires_grad_() for g, n in sizes.items()}
    at = places(symmetry, state)
    value = sum((toward[n] * mapped(state[n], symmetry, n, maps)).sum() for n in symmetry.axes)
    with torch.no_grad():
        for g, expected in zip(maps, torch.autograd.grad(value, [*maps.values()]), strict=True):
            torch.testing.assert_close(slope(symmetry, at[g], g, maps, state, toward), expected)


def test_between_is_linear():
    state, symmetry = perceptron(3, 5, 2)
    start, end = (corners(symmetry, symmetry.sample(k), state["0.weight"]) for k in range(2))
    half = between(start, end, 0.25, ["h1"])["h1"]
    torch.testing.assert_close(half, 0.75 * start["h1"] + 0.25 * end["h1"])
    assert between(start, end, 0, ["h1"])["h1"] is start["h1"]
    assert between(start, end, 1, ["h1"])["h1"] is end["h1"]
