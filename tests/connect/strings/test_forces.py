"""What moves the pivots of a band: tangents, what is across them, springs, and the way along the chain."""

import numpy as np
import pytest
import torch
from reference import neb as reference

from skfusion.connect._chain import lengths, redistributed
from skfusion.connect.strings._forces import across, springs, tangents


def chain(n, d=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


LOSSES = {
    "random": [0.3, -1.2, 0.8, 0.7, 2.0, 1.9, -0.5],
    "rising": [0.0, 1.0, 2.0, 4.0, 5.0, 5.5, 9.0],
    "falling": [9.0, 5.5, 5.0, 4.0, 2.0, 1.0, 0.0],
    "top": [0.0, 1.0, 2.0, 3.0, 2.5, 1.0, 0.0],
    "steps": [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0],
    "even top": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
}


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_tangents_are_those_of_the_paper(losses):
    pivots = chain(7)
    found = tangents(pivots, torch.tensor(losses))
    p = pivots.numpy()
    expected = [reference.tangent(p[i - 1], p[i], p[i + 1], losses[i - 1 : i + 2]) for i in range(1, 6)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.norm(dim=1), 1.0, rtol=0, atol=1e-12)


def test_at_an_extremum_the_higher_neighbour_counts_more():
    """The other way round, as in a widely used implementation, the tangent would lean to the lower one."""
    pivots = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    (tangent,) = tangents(pivots, torch.tensor([0.0, 1.0, 0.9]))
    np.testing.assert_allclose(tangent, np.array([0.1, 1.0]) / np.hypot(0.1, 1.0), atol=1e-6)
    (tangent,) = tangents(pivots, torch.tensor([1.0, 0.0, 3.0]))
    np.testing.assert_allclose(tangent, np.array([1.0, 3.0]) / np.hypot(1.0, 3.0), atol=1e-6)


def test_what_is_across_is_orthogonal_to_the_tangent():
    pivots, gradients = chain(9, 50), chain(7, 50, seed=1)
    tangent = tangents(pivots, chain(9, 1, seed=2)[:, 0])
    left = across(gradients, tangent)
    assert float((left * tangent).sum(1).abs().max()) < 1e-12
    along = ((gradients - left) * tangent).sum(1, keepdim=True) * tangent
    np.testing.assert_allclose(gradients - left, along, atol=1e-12)


def test_neighbours_at_one_place_have_no_tangent():
    pivots = torch.ones(3, 2, dtype=torch.float64)
    tangent = tangents(pivots, torch.tensor([0.0, 1.0, 0.0]))
    assert tangent.tolist() == [[0.0, 0.0]]
    assert across(torch.ones(1, 2, dtype=torch.float64), tangent).tolist() == [[1.0, 1.0]]


def test_springs_are_those_of_the_paper():
    pivots, rest = chain(5), torch.tensor([1.0, 2.0, 0.5, 1.5], dtype=torch.float64)
    tangent = tangents(pivots, torch.arange(5.0))
    p, r, t = (v.numpy() for v in (pivots, rest, tangent))
    expected = [reference.spring(p[i - 1], p[i], p[i + 1], r[i - 1 : i + 1], 0.3, t[i - 1]) for i in range(1, 4)]
    np.testing.assert_allclose(springs(pivots, rest, 0.3, tangent), expected, atol=1e-12)


def test_springs_draw_a_pivot_to_the_middle():
    pivots = torch.tensor([[0.0], [0.1], [1.0]], dtype=torch.float64)
    pull = springs(pivots, torch.tensor([0.5, 0.5], dtype=torch.float64), 1.0, torch.ones(1, 1, dtype=torch.float64))
    assert float(pull) < 0  # a step against it goes on


# ---- moving pivots along the chain ---------------------------------------------------------------------------------


def test_an_equally_spaced_chain_stays():
    angles = np.linspace(0, np.pi, 9)
    pivots = torch.from_numpy(np.column_stack([np.cos(angles), np.sin(angles)]))
    found = redistributed(pivots, np.ones(8))
    np.testing.assert_allclose(found, pivots, rtol=0, atol=1e-12)
    spacing = np.array([0.1, 0.5, 0.2, 0.2])
    line = torch.from_numpy(np.concatenate([[0.0], spacing.cumsum()])[:, None] * [[3.0, 4.0]])
    np.testing.assert_allclose(redistributed(line, spacing), line, rtol=0, atol=1e-12)


def test_pivots_move_along_the_chain_to_their_shares_of_its_length():
    pivots = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    for spacing, place in (([1.0, 1.0], [1.0, 1.0]), ([1.0, 7.0], [0.5, 0.0])):
        found = redistributed(pivots, np.array(spacing))
        np.testing.assert_allclose(found, [[0.0, 0.0], place, [1.0, 3.0]], atol=1e-12)
    for spacing in (np.ones(6), np.array([1.0, 5.0, 1.0, 1.0, 0.1, 3.0])):
        crooked = chain(7)
        moved = redistributed(crooked, spacing)
        assert torch.equal(moved[0], crooked[0])
        assert torch.equal(moved[-1], crooked[-1])
        assert float(lengths(moved).sum()) <= float(lengths(crooked).sum()) + 1e-12


def test_pivots_that_lie_on_one_another_are_spread():
    pivots = torch.tensor([[0.0], [0.0], [0.0], [0.0], [2.0]], dtype=torch.float64)
    assert redistributed(pivots, np.ones(4)).flatten().tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
