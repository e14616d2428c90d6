"""Averages whose profile is a power of time."""

import numpy as np
import pytest
import torch

from skfusion.average import PowerEMA, exponent_of


def times(n):
    return [{"w": torch.tensor([i / n], dtype=torch.float64)} for i in range(n + 1)]


@pytest.mark.parametrize(
    ("sigma", "gamma"), [(0.05, 16.97), (0.10, 6.937), (0.15, 3.558), (0.20, 1.826), (0.25, 0.7198), (12**-0.5, 0.0)]
)
def test_the_exponent_has_the_relative_length(sigma, gamma):
    g = exponent_of(sigma)
    assert g == pytest.approx(gamma, rel=1e-3, abs=1e-6)
    assert np.sqrt(g + 1) / ((g + 2) * np.sqrt(g + 3)) == pytest.approx(sigma, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.25])
def test_times_are_averaged_to_the_mean_of_the_profile(sigma):
    g = exponent_of(sigma)
    assert PowerEMA(sigma).of(times(4000))["w"].item() == pytest.approx((g + 1) / (g + 2), abs=3e-4)


def test_the_length_of_the_profile_is_a_share_of_the_run():
    for n in (500, 4000):
        weights, t = np.array(PowerEMA(0.1).coefficients(n + 1)), np.arange(n + 1) / n
        assert np.sqrt(weights @ t**2 - (weights @ t) ** 2) == pytest.approx(0.1, rel=5e-3)


def test_it_does_not_depend_on_how_often_it_is_updated():
    """The published package asks for another average where it is updated less often; this one does not."""
    often, seldom = (PowerEMA(0.1, every=every).of(times(4000))["w"].item() for every in (1, 40))
    assert seldom == pytest.approx(often, abs=0.006)  # each state stands for the forty steps before it


def test_weights_are_those_of_the_recursion():
    g, n = exponent_of(0.2), 30
    expected = np.zeros(n + 1)
    for t in range(1, n + 1):
        decay = (1 - 1 / t) ** (g + 1)
        expected *= decay
        expected[t] = 1 - decay
    assert PowerEMA(0.2).coefficients(n + 1) == pytest.approx(expected.tolist(), abs=1e-13)


@pytest.mark.parametrize("sigma", [12**-0.5, 0.2887])  # the latter is how it is written
def test_the_longest_is_the_plain_mean(sigma):
    assert PowerEMA(sigma).coefficients(5) == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=1e-7)


@pytest.mark.parametrize("sigma", [0.0, -0.1, 0.3, float("nan"), "0.1", None], ids=str)
def test_a_wrong_length_is_refused(sigma):
    with pytest.raises(
        ValueError, match=r"sigma is the length of the average relative to the run, above 0 and at most 0.2887"
    ):
        PowerEMA(sigma).begin(4)
