"""Soups whose weights Optuna tunes layer by layer."""

import numpy as np
import pytest
import torch
from torch import nn

from skfusion.merge import Greedy, Uniform
from skfusion.objective import ModuleObjective
from skfusion.state import weighted_sum
from skfusion.tuning import LayerwiseSoupWeights, SoupWeights
from skfusion.tuning._layerwise_soup_weights import layers_of, layerwise_sum


def some_states(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"body.0.weight": (3, 2), "body.0.bias": (3,), "head.weight": (2, 3)}
    return [{k: torch.randn(s, generator=generator) for k, s in shapes.items()} for _ in range(n)]


def near(target):
    """A score that is best at one state."""
    return lambda s: -sum(float(((s[k] - t) ** 2).sum()) for k, t in target.items())


def objective(score, told=None):
    report = (lambda name, value: None) if told is None else told.__setitem__
    return ModuleObjective(nn.Identity(), lambda: [], lambda state: -score(state), score, report=report)


def by_hand(states, weights):
    """Each tensor's sum with the weights of its layer, one by one."""
    return {
        key: sum(w * s[key].double() for w, s in zip(weights[key.rsplit(".", 1)[0]], states, strict=True))
        for key in states[0]
    }


def test_it_returns_the_sum_with_the_weights_that_it_tells():
    states, told = some_states(3), {}
    soup = LayerwiseSoupWeights(20)(states, objective=objective(near(some_states(1, 9)[0]), told))
    assert [*told["weights"]] == ["body.0", "head"]
    for key, expected in by_hand(states, told["weights"]).items():
        torch.testing.assert_close(soup[key].double(), expected, rtol=0, atol=1e-6)
    for weights in told["weights"].values():
        assert min(weights) >= 0
        assert sum(weights) == pytest.approx(1, abs=1e-12)


def test_weights_that_differ_by_layer_are_found():
    states = some_states(3)
    weights = {"body.0": [0.7, 0.2, 0.1], "head": [0.1, 0.3, 0.6]}
    aim = near({k: t.float() for k, t in by_hand(states, weights).items()})
    told, one = {}, {}
    LayerwiseSoupWeights(400)(states, objective=objective(aim, told))
    SoupWeights(400)(states, objective=objective(aim, one))
    assert told["score"] > one["score"] / 20
    for layer, expected in weights.items():
        np.testing.assert_allclose(told["weights"][layer], expected, atol=0.1)


@pytest.mark.parametrize("n_trials", [0, 10])
def test_it_is_never_worse_than_its_starts(n_trials):
    for seed in range(5):
        states, score = some_states(4, seed), near(some_states(1, 50 + seed)[0])
        soup = LayerwiseSoupWeights(n_trials)(states, objective=objective(score))
        greedy = Greedy()(states, objective=objective(score))
        assert score(soup) >= max(map(score, [*states, greedy, Uniform()(states)])) - 1e-5


def test_one_layer_is_a_soup_of_one_weight_a_member():
    states = [{"0.weight": s["head.weight"]} for s in some_states(4)]
    score = near({"0.weight": torch.ones(2, 3)})
    layered, plain = {}, {}
    LayerwiseSoupWeights(30)(states, objective=objective(score, layered))
    SoupWeights(30)(states, objective=objective(score, plain))
    assert layered["weights"] == {"0": plain["weights"]}


def test_trials_have_weights_for_each_layer():
    told = {}
    LayerwiseSoupWeights(3)(some_states(2), objective=objective(near(some_states(1, 9)[0]), told))
    assert [np.shape(t.user_attrs["weights"]) for t in told["study"].trials[-3:]] == [(2, 2)] * 3


def test_tied_tensors_have_the_weights_of_their_first_layer():
    states = some_states(2)
    for state in states:
        state["tail.weight"] = state["body.0.weight"]
    layers = layers_of(states)
    assert layers == {"body.0": ["body.0.weight", "body.0.bias", "tail.weight"], "head": ["head.weight"]}
    soup = layerwise_sum(states, {"body.0": [0.25, 0.75], "head": [1.0, 0.0]}, layers)
    assert soup["tail.weight"].data_ptr() == soup["body.0.weight"].data_ptr()
    assert [*soup] == [*states[0]]
    torch.testing.assert_close(soup["tail.weight"], weighted_sum(states, [0.25, 0.75])["body.0.weight"])


def test_tensors_without_a_module_are_a_layer():
    assert layers_of([{"scale": torch.ones(1), "0.weight": torch.ones(2)}]) == {"": ["scale"], "0": ["0.weight"]}
