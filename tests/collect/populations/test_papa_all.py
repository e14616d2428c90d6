"""PAPA-all: members that are set to their mean every few epochs."""

import looped
import pytest
import torch
from looped import same_bits

from skfusion.collect import PAPA, PAPAAll
from skfusion.collect.populations._papa_all import _SetToMean
from skfusion.nets import Together
from skfusion.testing import _problems as problems

BOTH = pytest.mark.parametrize("vectorize", [True, False])


def collect(collector, **params):
    return looped.collect(collector, problems.net(**params), problems.rows())


def test_members_become_their_mean_but_for_those_that_have_diverged():
    theta = torch.randn(4, 6, dtype=torch.float64)
    theta[3, 0] = torch.nan
    mean = theta[:3].mean(0)
    _SetToMean(1).act(Together(3, 3, [theta], [1.0] * 4, lambda k: {}))
    torch.testing.assert_close(theta[:3], mean.expand(3, -1), rtol=0, atol=1e-15)
    assert theta[3, 0].isnan()


@pytest.mark.parametrize(("every", "expected"), [(1, [3, 6, 9]), (2, [6]), (3, [9]), (4, []), (9, [])])
def test_epochs_are_counted_and_the_last_one_is_left_out(every, expected):
    assert [step for step in range(1, 13) if _SetToMean(every).acts_after(step, 3, 12)] == expected


@BOTH
def test_it_is_a_full_pull_every_few_epochs(vectorize):
    """Three steps an epoch: a pull to the mean after the third step of each epoch but the last."""
    one = collect(PAPAAll(3, every=1, vectorize=vectorize), max_epochs=2)
    other = collect(PAPA(3, alpha=0.0, every=3, vectorize=vectorize), max_epochs=1)
    assert same_bits(one.base, other.base)
    assert not same_bits(one[0].state, one[1].state)
    with pytest.warns(UserWarning, match="every=7.* never met in 2 epochs, .*. Train longer, or take a smaller every."):
        rare = collect(PAPAAll(3, every=7, vectorize=vectorize), max_epochs=2)
    free = collect(PAPA(3, alpha=1.0, vectorize=vectorize), max_epochs=2)
    assert all(same_bits(a.state, b.state) for a, b in zip(rare, free, strict=True))
    assert not same_bits(one[0].state, rare[0].state)


@pytest.mark.parametrize("every", [0, -2, 0.5, "5"])
def test_wrong_parameters_are_refused(every):
    with pytest.raises(ValueError, match="every is a number of epochs"):
        collect(PAPAAll(2, every=every))
