"""Plans with entropy: the least cost minus entropy, the limits of little and much of it, and errors."""

import numpy as np
import pytest
from _coupling.problems import costs, masses, uniform

from skfusion._coupling import exact, rounded, sinkhorn


def entropy(plan):
    return -float((plan[plan > 0] * np.log(plan[plan > 0])).sum())


@pytest.mark.parametrize("reg", [1.0, 0.3, 0.1])
def test_the_plan_of_sinkhorn_minimises_cost_minus_entropy(reg):
    c, a, b = costs(6, 5), masses(6, 1), masses(5, 2)
    plan, error = sinkhorn(c, a, b, reg, 100_000, 1e-12)
    assert error <= 1e-12
    assert np.abs(plan.sum(1) - a).max() <= 1e-12
    # log T = (f + g - C) / reg: second differences of log T + C / reg vanish
    scaled = np.log(plan) + c / reg
    assert np.abs(scaled - scaled[:1] - scaled[:, :1] + scaled[0, 0]).max() <= 1e-6
    value = (plan * c).sum() - reg * entropy(plan)
    for other in (exact(c, a, b), np.outer(a, b), rounded(plan * np.exp(0.1 * costs(6, 5, 3)), a, b)):
        assert value <= (other * c).sum() - reg * entropy(other) + 1e-12


def test_little_entropy_gives_the_exact_plan_and_much_of_it_sends_all_everywhere():
    c, a, b = costs(8, 8), uniform(8), uniform(8)
    best = exact(c, a, b)
    gaps = [np.abs(sinkhorn(c, a, b, reg, 2000, 1e-9)[0] - best).max() for reg in (1.0, 0.1, 0.01, 1e-3)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] <= 1e-8
    all_over, error = sinkhorn(c, masses(8), b, 1e6, 100, 1e-9)
    assert error <= 1e-9
    assert np.abs(all_over - np.outer(masses(8), b)).max() <= 1e-6


@pytest.mark.parametrize("reg", [1e-3, 1e-6, 1e-12, 1e-300])
def test_no_strength_gives_nan_and_the_masses_are_right(reg):
    for seed in range(3):
        c, a, b = costs(9, 7, seed), masses(9, seed), masses(7, seed + 1)
        plan, error = sinkhorn(c, a, b, reg, 40, 1e-9)
        assert np.isfinite(plan).all()
        assert np.isfinite(error)
        assert np.abs(plan.sum(1) - a).max() <= 1e-12
        assert np.abs(plan.sum(0) - b).max() <= 1e-12


def test_the_error_says_how_far_the_iteration_was_from_its_end():
    c, a, b = costs(9, 7), masses(9), masses(7)
    errors = [sinkhorn(c, a, b, 0.02, n, 1e-12)[1] for n in (20, 200, 20_000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-6
    assert errors[-1] <= 1e-12
