"""Weights of few bits, and the mean of late states."""

import copy
import pickle

import numpy as np
import pytest
import torch

from skfusion.average import LowPrecision, Mean
from skfusion.average._low_precision import block_floating_point, fixed_point, gap_of
from skfusion.testing import _problems as problems


def rounded(x, generator=None, **params):
    """The tensor after one rounding by an average of these parameters."""
    x = x.clone()
    LowPrecision(**params).begin(4).rewrite([x])
    return x


@pytest.mark.parametrize("params", [{"fraction": 4}, {}, {"block": "row"}, {"word_length": 3}], ids=str)
def test_rounding_has_no_bias_and_goes_to_a_neighbour(params):
    """The mean of n draws is off by less than 4.5 standard errors, which a fair draw misses once in 150 thousand."""
    n = 4000
    x = torch.tensor([[0.3, -1.27, 0.01, 2.0], [0.004, 0.011, -0.0031, 0.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    word, block = params.get("word_length", 8), params.get("block", "tensor")
    if "fraction" in params:
        gap = torch.full_like(x, 2.0**-4)
        draws = torch.stack([fixed_point(x, word, 4, generator) for _ in range(n)])
    else:
        gap = gap_of(x, word, block).expand_as(x)
        draws = torch.stack([block_floating_point(x, word, block, generator) for _ in range(n)])
    up = x / gap - torch.floor(x / gap)  # the probability to go up, by which the variance is that of a coin
    error = gap * torch.sqrt(up * (1 - up) / n)
    assert bool(((draws.mean(0) - x).abs() <= 4.5 * error + 1e-12).all())
    assert bool(((draws - x).abs() < gap).all())
    assert bool(((draws / gap).round() * gap == draws).all())
    assert bool((draws[:, 1, 3] == 0).all())


def test_numbers_on_the_grid_stay():
    grid = torch.arange(-127, 128).float() / 64
    assert torch.equal(rounded(grid), grid)
    assert torch.equal(rounded(grid, fraction=6), grid)
    once = rounded(torch.randn(50))
    assert torch.equal(rounded(once), once)


def test_fixed_point_clips_to_what_the_word_holds():
    x = torch.tensor([-99.0, 99.0, 1.5])
    assert rounded(x, word_length=4, fraction=1).tolist() == [-4.0, 3.5, 1.5]


@pytest.mark.parametrize(
    ("largest", "gap"), [(127.0, 1.0), (127.5, 2.0), (128.0, 2.0), (1.0, 2.0**-6), (254.0, 2.0), (1e-42, 2.0**-146)]
)
def test_the_gap_is_the_smallest_that_clips_nothing(largest, gap):
    x = torch.tensor([-largest, 0.0])
    assert gap_of(x, 8, "tensor").item() == gap
    assert abs(x[0].double() / gap) <= 127 < abs(x[0].double() / gap) * 2


def test_rows_have_gaps_of_their_own_and_vectors_have_one():
    x = torch.tensor([[1.0, 0.3], [1e-3, 2e-4]])
    assert gap_of(x, 8, "row").flatten().tolist() == [2.0**-6, 2.0**-16]
    assert gap_of(x, 8, "tensor").flatten().tolist() == [2.0**-6]
    assert gap_of(x[0], 8, "row").tolist() == [2.0**-6]
    assert gap_of(torch.tensor(3.0), 8, "row").item() == 2.0**-5
    assert gap_of(torch.zeros(2, 2), 8, "row").flatten().tolist() == [1.0, 1.0]


def test_many_bits_change_little_and_give_the_mean():
    x = torch.randn(100, dtype=torch.float64)
    assert float((rounded(x, word_length=24) - x).abs().max()) < 2.0**-20
    states = problems.states(9)
    for key, value in LowPrecision(0.5).of(states).items():
        torch.testing.assert_close(value, Mean(0.5).of(states)[key])
    assert LowPrecision(3, every=2).coefficients(12) == Mean(3, every=2).coefficients(12)
    assert LowPrecision(20).shortfall(1) == Mean(20).shortfall(1)


def test_complex_weights_are_rounded_part_by_part():
    z = torch.tensor([0.3 + 0.26j, -0.9 + 0.1j])
    parts = torch.view_as_real(rounded(z, fraction=2)) * 4
    assert torch.equal(parts, parts.round())
    assert float((torch.view_as_real(z) * 4 - parts).abs().max()) < 1


def test_half_precision_holds_words_of_eight_bits():
    x = torch.randn(64).bfloat16()
    gap = gap_of(x, 8, "tensor")
    assert torch.equal((rounded(x).double() / gap).round() * gap, rounded(x).double())


def test_draws_follow_from_the_seed_and_leave_the_global_generator_alone(untouched_rng):
    x = torch.randn(200, generator=torch.Generator().manual_seed(1))

    def two_steps(seed, interrupted=False):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            running, y = LowPrecision().begin(4), x.clone()
            running.rewrite([y])
            first = y.clone()
            y.copy_(x)
        running = pickle.loads(pickle.dumps(copy.deepcopy(running))) if interrupted else running
        running.rewrite([y])
        return first, y

    one, again, elsewhere, other = two_steps(3), two_steps(3), two_steps(3, interrupted=True), two_steps(4)
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert torch.equal(one[1], elsewhere[1])
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one[0], other[0])


def test_draws_are_not_those_that_made_the_weights():
    """Weights that are drawn by a seed, and rounded by the same seed, must not be rounded by their own numbers."""
    torch.manual_seed(0)
    x = torch.rand(4000)
    up = np.asarray(rounded(x, word_length=8, fraction=2) > x)
    share = np.asarray(x * 4 - torch.floor(x * 4))
    assert abs(up.mean() - share.mean()) < 4.5 * np.sqrt(0.25 / 4000)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"word_length": 1}, "word_length is a number of bits, from 2 to 24; got 1"),
        ({"word_length": 8.0}, "word_length is a number of bits, from 2 to 24; got 8.0"),
        ({"fraction": 0.5}, "fraction is the number of bits behind the binary point.*got 0.5"),
        ({"block": "column"}, "block must be 'tensor' or 'row'; got 'column'"),
        ({"burn_in": 1.5}, "burn_in is a share"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        LowPrecision(**params).begin(4)
