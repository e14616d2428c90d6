"""Exponential moving averages."""

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from skfusion.average import EMA
from skfusion.testing import _problems as problems


def run(values):
    return [{"w": torch.tensor([float(v)], dtype=torch.float64)} for v in values]


def literal(values, decay, warm_up=False, corrected=True):
    """The average by its formula: from zero, over the sum of its weights, or from the first state."""
    total, weight = 0.0, 0.0
    for n, value in enumerate(values, 1):
        b = min(decay, (1 + n) / (10 + n)) if warm_up else decay
        if n == 1 and not corrected:
            total, weight = value, 1.0
        else:
            total, weight = b * total + (1 - b) * value, b * weight + 1 - b
    return total / weight


@pytest.mark.parametrize("params", [{}, {"warm_up": True}, {"bias_correction": False}], ids=repr)
def test_weights_fall_by_the_formula(params):
    values = np.random.RandomState(0).normal(size=41)
    expected = literal(values[1:], 0.9, params.get("warm_up", False), params.get("bias_correction", True))
    assert EMA(0.9, **params).of(run(values))["w"].item() == pytest.approx(expected, rel=1e-9)


def test_bias_correction_divides_by_one_less_the_power_of_the_decay():
    weights = EMA(0.9).coefficients(6)  # the state before training does not count
    expected = [0.1 * 0.9 ** (5 - i) / (1 - 0.9**5) for i in range(1, 6)]
    assert weights == pytest.approx([0.0, *expected])


def test_a_decay_of_zero_keeps_the_last_state():
    assert EMA(0.0).of(run([5, 7, 2]))["w"].item() == 2


def test_without_correction_it_is_that_of_torch():
    module = torch.nn.Linear(3, 2)
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    running = EMA(0.8, bias_correction=False).begin(9)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for step in range(1, 10):
            for p in module.parameters():
                p += torch.randn(p.shape, generator=generator)
            averaged.update_parameters(module)
            running.update(step, module.state_dict())
    for key, value in running.result().items():
        torch.testing.assert_close(value.float(), averaged.module.state_dict()[key], rtol=1e-5, atol=1e-6)


def test_every_second_state_is_seen_alone():
    values = list(range(9))
    assert EMA(0.5, every=2).of(run(values))["w"].item() == pytest.approx(literal(values[2::2], 0.5))


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, float("nan"), "0.9", None], ids=str)
def test_a_wrong_decay_is_refused(decay):
    with pytest.raises(ValueError, match="decay must be at least 0 and below 1"):
        EMA(decay).begin(4)


@pytest.mark.parametrize("warm_up", [False, True])
def test_a_run_that_ends_before_a_second_state_is_short_of_states_with_or_without_warm_up(warm_up):
    assert "at most one state to average. Train longer, or take a smaller every." in EMA(
        0.5, every=9, warm_up=warm_up
    ).shortfall(1)


def test_a_run_shorter_than_the_window_is_named_with_its_numbers():
    assert EMA(0.99).shortfall(100) is None
    assert EMA(0.99, warm_up=True).shortfall(5) is None
    assert "about the last 100 states, and there were 99" in EMA(0.99).shortfall(99)


def test_it_takes_two_copies_of_the_state():
    kept = problems.streamed(EMA(0.9), problems.states(6)).kept
    size = sum(t.numel() for t in problems.base().values() if t.is_floating_point())
    for tensors, dtype in ((kept.means, torch.float64), (kept.parts, torch.float32)):
        assert {t.dtype for t in tensors} == {dtype}
        assert sum(t.numel() for t in tensors) == size
