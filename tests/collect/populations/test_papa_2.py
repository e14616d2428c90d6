"""PAPA-2: members that become means of pairs."""

import looped
import numpy as np
import pytest
import torch
from looped import same_bits

from skfusion.collect import PAPA2
from skfusion.collect.populations._papa_2 import _Pairs, pairs
from skfusion.nets import Together
from skfusion.testing import _problems as problems


def collect(collector, seed=0, **params):
    return looped.collect(collector, problems.net(**params), problems.rows(), seed)


def population(seed=0, every=1):
    made = _Pairs(every, seed)
    made.begin()
    return made


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_pairs_are_of_two_and_do_not_repeat(n):
    for seed in range(20):
        drawn = pairs(n, np.random.RandomState(seed))
        assert drawn.shape == (n, 2)
        assert (drawn[:, 0] < drawn[:, 1]).all()
        assert drawn.max() < n
        assert len({*map(tuple, drawn.tolist())}) == (1 if n == 2 else n)


def test_all_pairs_are_drawn_equally_often():
    drawn = np.concatenate([pairs(4, np.random.RandomState(seed)) for seed in range(900)])
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert np.abs(counts - 600).max() < 4 * np.sqrt(600 * 5 / 6)


def test_members_become_means_of_pairs():
    theta, statistics = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    theta[1, 0] = torch.nan
    before = [theta.clone(), statistics.clone()]
    population().act(Together(3, 3, [theta, statistics], [1.0] * 5, lambda k: {}))
    drawn = np.array([0, 2, 3, 4])[pairs(4, np.random.RandomState(0))]
    for k, (i, j) in zip([0, 2, 3, 4], drawn, strict=True):
        for after, start in zip((theta, statistics), before, strict=True):
            torch.testing.assert_close(after[k], (start[i] + start[j]) / 2)
    assert theta[1, 0].isnan()


def test_a_single_member_is_left_alone():
    theta = torch.randn(1, 4)
    start = theta.clone()
    population().act(Together(3, 3, [theta], [1.0], lambda k: {}))
    assert torch.equal(theta, start)


def test_two_members_become_equal_and_part_again():
    pool = collect(PAPA2(2, every=1, vectorize=True), max_epochs=2)
    assert not same_bits(pool[0].state, pool[1].state)
    assert not population().acts_after(12, 3, 12)
    assert population().acts_after(9, 3, 12)


@pytest.mark.parametrize("every", [0, 1.5])
def test_wrong_parameters_are_refused(every):
    with pytest.raises(ValueError, match="every is a number of epochs"):
        collect(PAPA2(2, every=every))
