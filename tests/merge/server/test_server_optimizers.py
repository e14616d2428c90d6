"""Optimisers of the server: the recursions of Reddi et al. (2021), number by number."""

import numpy as np
import pytest
import torch

from skfusion.merge import FedAdam, FedAvgM, FedYogi

CHANGES = [0.5, -0.2, 0.3, 0.01, -0.4]


def steps_of(optimizer, start=1.0):
    """Return the states of a server whose clients change it by CHANGES."""
    step, state, seen = optimizer.begin(["w"]), {"w": torch.tensor([start], dtype=torch.float64)}, []
    for change in CHANGES:
        state = step(state, {"w": state["w"] + change})
        seen.append(state["w"].item())
    return seen


def test_momentum():
    x, m, expected = 1.0, 0.0, []
    for change in CHANGES:
        m = 0.6 * m + change
        x += 0.5 * m
        expected.append(x)
    np.testing.assert_allclose(steps_of(FedAvgM(lr=0.5, momentum=0.6)), expected)


@pytest.mark.parametrize("kind", [FedAdam, FedYogi])
def test_adaptive_servers(kind):
    x, m, v, expected = 1.0, 0.0, 0.0, []
    for change in CHANGES:
        m = 0.8 * m + 0.2 * change
        if kind is FedAdam:
            v = 0.95 * v + 0.05 * change**2
        else:
            v = v - 0.05 * change**2 * np.sign(v - change**2)
        x += 0.3 * m / (np.sqrt(v) + 0.1)
        expected.append(x)
    np.testing.assert_allclose(steps_of(kind(lr=0.3, beta1=0.8, beta2=0.95, tau=0.1)), expected)


def test_without_memory_it_is_the_fused_state():
    np.testing.assert_allclose(steps_of(FedAvgM(momentum=0.0)), 1 + np.cumsum(CHANGES))


def test_what_is_no_parameter_is_that_of_the_clients():
    start = {"w": torch.zeros(2), "running_mean": torch.zeros(2), "n": torch.tensor(3)}
    fused = {"w": torch.ones(2), "running_mean": torch.ones(2), "n": torch.tensor(7)}
    after = FedAdam(lr=0.25, beta1=0.0, beta2=0.0, tau=1e-15).begin(["w"])(start, fused)
    assert after["w"].tolist() == [0.25, 0.25]
    assert after["running_mean"].tolist() == [1.0, 1.0]
    assert after["n"] == 7


@pytest.mark.parametrize("params", [{"lr": -1.0}, {"beta2": 1.0}, {"tau": float("nan")}, {"tau": 0.0}])
def test_bad_parameters_are_named(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        FedAdam(**params).begin(["w"])


def test_a_state_of_another_width_is_refused():
    with pytest.raises(ValueError, match="has changed the widths"):
        FedAvgM().begin(["w"])({"w": torch.zeros(2)}, {"w": torch.zeros(3)})
