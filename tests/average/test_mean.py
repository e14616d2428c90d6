"""The mean of the late states of a run."""

import numpy as np
import pytest
import torch

from skfusion.average import LowPrecision, Mean
from skfusion.testing import _problems as problems


def run(values):
    return [{"w": torch.tensor([float(v)])} for v in values]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"burn_in": 0.0}, range(13)),
        ({"burn_in": 0.5}, range(6, 13)),
        ({"burn_in": 1.0}, [12]),
        ({"burn_in": 1}, range(13)),
        ({"burn_in": 5}, range(4, 13)),
        ({"burn_in": 5, "every": 4}, [4, 8, 12]),
        ({"burn_in": 0.5, "unit": "epoch"}, range(6, 13)),
        ({"burn_in": 3, "unit": "epoch", "every": 5}, [2, 7, 12]),
    ],
    ids=repr,
)
def test_late_states_count_equally(params, expected):
    states = run(range(13))
    assert Mean(**params).of(states)["w"].item() == pytest.approx(np.mean(expected), rel=1e-6)
    assert problems.streamed(Mean(**params), states).n == len(expected)


def test_a_burn_in_that_is_never_over_leaves_the_last_state():
    assert Mean(burn_in=20).of(run(range(5)))["w"].item() == 4


@pytest.mark.parametrize("kind", [Mean, LowPrecision])
def test_a_mean_of_no_state_or_one_says_so_with_the_numbers(kind):
    def found(n_states, **params):
        average = kind(**params)
        running = problems.streamed(average, run(range(n_states)))
        return running.shortfall() or average.shortfall(max(running.n, 1))

    assert "begins at step 20, and the run ended after 4 steps" in found(5, burn_in=20)
    assert "begins at epoch 6, and the run ended after 5 epochs" in found(5, burn_in=6, unit="epoch")
    for params in ({"burn_in": 5}, {"burn_in": 0.8}, {"burn_in": 2, "every": 9}):
        assert "was of one state, with burn_in=" in found(5, **params, unit="epoch")
    for unit in ("step", "epoch"):
        assert found(5, burn_in=1.0, unit=unit) is None
        assert found(5, burn_in=0.5, unit=unit) is None


def test_tail_averaging_of_least_squares_reaches_the_rate_of_its_theory():
    """Jain et al. (2018): the error of the mean of n states is near sigma^2 d / n, and that of the last one is not."""
    rng, d, n = np.random.RandomState(0), 5, 40_000
    w, tail = np.zeros(d), Mean(0.5).begin(n)
    for i in range(1, n + 1):
        x = rng.normal(size=d)
        w += 0.02 * x * (x @ (1 - w) + rng.normal())
        tail.update(i, {"w": torch.from_numpy(w)})
    error = float(((tail.result()["w"].numpy() - 1) ** 2).sum())
    assert error < 4 * d / (n / 2)
    assert error < ((w - 1) ** 2).sum() / 10


@pytest.mark.parametrize("burn_in", [-0.1, 1.1, 0, -3, True, None, float("nan"), "0.5"], ids=str)
def test_a_wrong_burn_in_is_refused(burn_in):
    with pytest.raises(
        ValueError, match="burn_in is a share of the epochs, a float between 0 and 1, or an epoch, an int"
    ):
        Mean(burn_in, unit="epoch").begin(4)


@pytest.mark.parametrize("every", [0, -1, 1.5], ids=str)
def test_a_wrong_interval_is_refused(every):
    with pytest.raises(ValueError, match="every is a whole number of steps or epochs, at least 1"):
        Mean(every=every).begin(4)


def test_another_unit_is_refused():
    with pytest.raises(ValueError, match="unit must be 'step' or 'epoch'; got 'batch'"):
        Mean(unit="batch").begin(4)


def test_nothing_to_average_is_refused():
    with pytest.raises(ValueError, match="No states to average"):
        Mean().of([])
