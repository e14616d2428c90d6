"""The way from the base to the mean of its fine-tunes."""

import math

import pytest
import torch
from torch import nn

from skfusion.merge import Interpolate, TaskArithmetic, Uniform
from skfusion.objective import ModuleObjective


def vectors(n, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [{"w": torch.randn(7, generator=generator, dtype=torch.float64).to(dtype)} for _ in range(n)]


def objective(score, report=None):
    return ModuleObjective(
        nn.Identity(), lambda: [], lambda s: -score(s), score, report=report or (lambda name, value: None)
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_ends_are_the_base_and_the_mean_bit_for_bit(dtype):
    base, *states = vectors(4, dtype=dtype)
    assert torch.equal(Interpolate(0)(states, base)["w"], base["w"])
    assert torch.equal(Interpolate(1)(states[:1], base)["w"], states[0]["w"])
    assert torch.equal(Interpolate(1)(states, base)["w"], Uniform()(states)["w"])


def test_the_mean_of_any_number_of_members_has_no_share_of_the_base():
    base, *states = vectors(50)  # 49 times 1/49 is not 1
    assert torch.equal(Interpolate(1)(states, base)["w"], Uniform()(states)["w"])


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_it_is_on_the_line(t):
    base, a, b = vectors(3)
    expected = (1 - t) * base["w"] + t * (a["w"] + b["w"]) / 2
    torch.testing.assert_close(Interpolate(t)([a, b], base)["w"], expected, rtol=0, atol=1e-15)


def test_with_one_member_it_is_task_arithmetic():
    base, state = vectors(2)
    assert torch.equal(Interpolate(0.35)([state], base)["w"], TaskArithmetic(0.35)([state], base)["w"])


def test_the_default_is_half_of_the_way():
    base, state = vectors(2)
    torch.testing.assert_close(Interpolate()([state], base)["w"], (base["w"] + state["w"]) / 2, rtol=0, atol=1e-15)


def test_the_best_place_on_held_out_rows_is_taken_and_reported():
    base, a, b = vectors(3)
    mean = (a["w"] + b["w"]) / 2
    aim = base["w"] + 0.34 * (mean - base["w"])
    told = {}
    data = objective(lambda s: -float((s["w"] - aim).square().sum()), told.__setitem__)
    found = Interpolate(t=None)([a, b], base, data)
    assert told["t"] == 0.35
    assert [*told["t_scores"]] == [k / 20 for k in range(21)]
    assert told["t_scores"][0.35] == max(told["t_scores"].values()) == data.score(found)
    assert torch.equal(found["w"], Interpolate(0.35)([a, b], base)["w"])


def test_the_base_and_the_mean_are_among_what_is_tried():
    base, *states = vectors(3)
    for t, aim in ((0.0, base["w"]), (1.0, (states[0]["w"] + states[1]["w"]) / 2)):
        data = objective(lambda s, aim=aim: -float((s["w"] - aim).square().sum()))
        assert Interpolate(None).coefficients(states, base, data) == [t / 2, t / 2]


def test_the_first_of_equal_scores_wins():
    base, *states = vectors(3)
    found = Interpolate(None, grid=(0.6, 0.2)).coefficients(states, base, objective(lambda s: 1.0))
    assert found == [0.3, 0.3]


def test_data_are_needed_where_t_is_chosen():
    assert not Interpolate().needs_objective
    assert not Interpolate().needs_labels
    assert Interpolate(None).needs_objective
    assert Interpolate(None).needs_labels
    base, *states = vectors(3)
    with pytest.raises(ValueError, match="Interpolate.t=None. chooses by the held-out score"):
        Interpolate(None)(states, base)


@pytest.mark.parametrize("t", [-0.1, 1.1, math.nan])
def test_places_beyond_the_ends_are_refused(t):
    base, *states = vectors(3)
    with pytest.raises(ValueError, match="TaskArithmetic goes beyond"):
        Interpolate(t)(states, base)
    with pytest.raises(ValueError, match="TaskArithmetic goes beyond"):
        Interpolate(None, grid=(0.5, t))(states, base, objective(lambda s: 1.0))


@pytest.mark.parametrize("t", [0.5, None])
def test_a_base_is_needed(t):
    with pytest.raises(ValueError, match="Interpolate needs the common start"):
        Interpolate(t)(vectors(2), None, objective(lambda s: 1.0))
