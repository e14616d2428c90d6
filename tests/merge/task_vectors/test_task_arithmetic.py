"""Arithmetic with what fine-tuning has changed."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from skfusion.merge import TaskArithmetic
from skfusion.objective import ModuleObjective


def vectors(n, seed=0, d=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [{"w": torch.randn(d, generator=generator, dtype=torch.float64).to(dtype)} for _ in range(n)]


def objective(score, report=None):
    return ModuleObjective(
        nn.Identity(), lambda: [], lambda s: -score(s), score, report=report or (lambda name, value: None)
    )


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, -2.0], [0.5, 0.25, 3.0]])
@pytest.mark.parametrize("scale", [0.3, 1.0, -1.0])
def test_it_adds_scaled_changes_number_by_number(scale, weights):
    base, *states = vectors(4)
    found = TaskArithmetic(scale, weights)(states, base)["w"]
    for i in range(7):
        start = float(base["w"][i])
        changes = [float(s["w"][i]) - start for s in states]
        expected = start + scale * sum(w * c for w, c in zip(weights or [1, 1, 1], changes, strict=True))
        assert float(found[i]) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_scale_1_of_one_member_is_the_member_and_scale_0_is_the_base(dtype):
    base, *states = vectors(3, dtype=dtype)
    assert torch.equal(TaskArithmetic(1.0)(states[:1], base)["w"], states[0]["w"])
    assert torch.equal(TaskArithmetic(0.0)(states, base)["w"], base["w"])
    assert torch.equal(TaskArithmetic(0.7, weights=[0, 0])(states, base)["w"], base["w"])


def test_opposite_changes_cancel():
    base, one = vectors(2)
    other = {"w": 2 * base["w"] - one["w"]}
    torch.testing.assert_close(TaskArithmetic(1.0)([one, other], base)["w"], base["w"], rtol=0, atol=1e-14)


def test_an_analogy_is_c_and_b_without_a():
    base, a, b, c = vectors(4)
    found = TaskArithmetic(1.0, weights=[-1, 1, 1])([a, b, c], base)["w"]
    torch.testing.assert_close(found, c["w"] + b["w"] - a["w"], rtol=0, atol=1e-14)


def test_changes_may_be_added_one_after_another():
    base, a, b = vectors(3)
    together = TaskArithmetic(1.0, weights=[0.4, 0.7])([a, b], base)["w"]
    first = TaskArithmetic(0.4)([a], base)
    moved = {"w": first["w"] + b["w"] - base["w"]}
    torch.testing.assert_close(TaskArithmetic(0.7)([moved], first)["w"], together, rtol=0, atol=1e-14)


def test_outputs_superpose_where_they_are_linear_in_the_weights():
    module = nn.Linear(5, 3, bias=True).double()
    generator = torch.Generator().manual_seed(1)
    base, *states = (
        {k: torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in module.state_dict().items()}
        for _ in range(4)
    )
    x = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    start = functional_call(module, base, x)
    changes = [functional_call(module, s, x) - start for s in states]
    merged = TaskArithmetic(0.6, weights=[1, -1, 2])(states, base)
    expected = start + 0.6 * (changes[0] - changes[1] + 2 * changes[2])
    torch.testing.assert_close(functional_call(module, merged, x), expected, rtol=0, atol=1e-12)


def test_half_precision_is_rounded_once():
    base, *states = vectors(9, dtype=torch.bfloat16)
    found = TaskArithmetic(0.3)(states, base)["w"]
    start = base["w"].double()
    exact = start + 0.3 * sum(s["w"].double() - start for s in states)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.to(torch.bfloat16))


def test_the_scale_with_the_best_held_out_score_is_taken_and_reported():
    base, *states = vectors(3)
    total = sum(s["w"] - base["w"] for s in states)
    aim = base["w"] + 0.62 * total
    told = {}
    data = objective(lambda s: -float((s["w"] - aim).square().sum()), told.__setitem__)
    merge = TaskArithmetic(scale=None)
    found = merge(states, base, data)
    assert told["scale"] == 0.6
    assert [*told["scale_scores"]] == [k / 20 for k in range(21)]
    assert told["scale_scores"][0.6] == max(told["scale_scores"].values()) == data.score(found)
    torch.testing.assert_close(found["w"], base["w"] + 0.6 * total, rtol=0, atol=1e-14)
    assert merge.scale is None


def test_weights_count_while_the_scale_is_chosen():
    base, *states = vectors(3)
    aim = base["w"] - 0.4 * (states[1]["w"] - base["w"])
    data = objective(lambda s: -float((s["w"] - aim).square().sum()))
    found = TaskArithmetic(None, weights=[0, -1], grid=(0.2, 0.4, 0.8)).coefficients(states, base, data)
    assert found == [0.0, -0.4]


def test_the_first_of_equal_scores_wins_and_nan_never_does():
    base, state = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    scores = {0.5: math.nan, 0.25: 1.0, 0.75: 1.0, 1.0: 0.0}
    data = objective(lambda s: scores[float(s["w"])])
    assert TaskArithmetic(None, grid=(0.5, 0.75, 0.25, 1.0)).coefficients([state], base, data) == [0.75]
    assert TaskArithmetic(None, grid=(0.5, 0.25, 0.75, 1.0)).coefficients([state], base, data) == [0.25]
    with pytest.raises(ValueError, match="No scale of the grid"):
        TaskArithmetic(None).coefficients([state], base, objective(lambda s: math.nan))


def test_data_are_needed_where_the_scale_is_chosen():
    assert not TaskArithmetic().needs_objective
    assert not TaskArithmetic().needs_labels
    chosen = TaskArithmetic().set_params(scale=None)
    assert chosen.needs_objective
    assert chosen.needs_labels
    base, *states = vectors(3)
    with pytest.raises(ValueError, match="TaskArithmetic.scale=None. chooses by the held-out score"):
        chosen(states, base)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scale": math.nan}, "scale of TaskArithmetic must be a finite number"),
        ({"scale": math.inf}, "scale of TaskArithmetic must be a finite number"),
        ({"weights": [1, 2]}, "a finite weight for each of 3 members; got .1.0, 2.0."),
        ({"weights": [1, 2, math.nan]}, "finite weight"),
        ({"scale": None, "grid": ()}, "grid for scale must hold finite numbers, one at least"),
        ({"scale": None, "grid": (0.1, math.inf)}, "grid for scale must hold finite numbers"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    base, *states = vectors(4)
    with pytest.raises(ValueError, match=message):
        TaskArithmetic(**params)(states, base, objective(lambda s: 0.0))


@pytest.mark.parametrize("scale", [0.3, None])
def test_a_base_is_needed(scale):
    with pytest.raises(ValueError, match="TaskArithmetic needs the common start"):
        TaskArithmetic(scale)(vectors(2), None, objective(lambda s: 0.0))


def test_one_weight_stands_for_all():
    base, *states = vectors(4)
    assert TaskArithmetic(0.5, weights=2).coefficients(states, base) == [1.0, 1.0, 1.0]


def test_integer_buffers_are_the_maximum_of_what_has_a_share():
    base = {"w": torch.zeros(2), "n": torch.tensor(40)}
    states = [{"w": torch.ones(2), "n": torch.tensor(n)} for n in (50, 60)]
    assert int(TaskArithmetic(0.5, weights=[1, 0])(states, base)["n"]) == 50
    assert int(TaskArithmetic(0.0)(states, base)["n"]) == 40
