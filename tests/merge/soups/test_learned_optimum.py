"""Learned weights of convex problems, and weights that were planted."""

import math

import numpy as np
import pytest
import torch
from merge.problems import assert_close, judged, mixed, normal, perceptron, planted, states
from scipy.optimize import minimize
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from skfusion.merge import Learned
from skfusion.objective import Batch


def labelled(members, weights, module, heat, n=300):
    """Rows whose labels are drawn from the tempered predictions of a sum of members."""
    x = normal(n, 4, seed=3)
    p = (functional_call(module, mixed(members, weights), (x,)) / heat).softmax(1).detach()
    return Batch(x, torch.multinomial(p, 1, generator=torch.Generator().manual_seed(0)).squeeze(1))


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_it_finds_what_a_solver_finds(kind):
    module = nn.Linear(4, 3).double()
    members = states(module, 3, scale=1.0)
    batch = labelled(members, [0.2, 0.3, 0.5], module, 1.0)
    if kind == "gaussian":
        batch = Batch(batch.x, 0.1 * F.one_hot(batch.y, 3))
    data, report = judged(module, batch, kind=kind)
    Learned(temperature=False, n_steps=500)(members, objective=data)

    def loss(a):
        return data.loss(mixed(members, a))

    sums = {"type": "eq", "fun": lambda a: a.sum() - 1}
    start = np.full(3, 1 / 3)
    best = minimize(loss, start, method="SLSQP", bounds=[(0, 1)] * 3, constraints=sums, options={"ftol": 1e-12})
    assert report["loss"] == pytest.approx(best.fun, abs=1e-5)
    np.testing.assert_allclose(report["weights"], best.x, atol=0.01)
    assert report["uniform_loss"] == pytest.approx(loss(start), abs=1e-12)


def test_with_a_temperature_it_finds_the_weights_of_the_tempered_loss():
    module = nn.Linear(4, 3).double()
    members = states(module, 3, scale=1.0)
    batch = labelled(members, [0.2, 0.3, 0.5], module, 3.0)
    falling = iter(range(0, -999, -1))  # of all passes, the last one is taken
    data, report = judged(module, batch, loss=lambda state: next(falling))
    Learned(n_steps=500)(members, objective=data)

    def tempered(v):
        out = data.forward(mixed(members, v[:3]), batch.x).detach() / math.exp(v[3])
        return float(F.cross_entropy(out, batch.y))

    sums = {"type": "eq", "fun": lambda v: v[:3].sum() - 1}
    bounds = [(0, 1)] * 3 + [(-10, 10)]
    best = minimize(
        tempered, [1 / 3] * 3 + [0], method="SLSQP", bounds=bounds, constraints=sums, options={"ftol": 1e-12}
    )
    assert tempered([*report["weights"], math.log(report["temperature"])]) == pytest.approx(best.fun, abs=1e-3)
    np.testing.assert_allclose(report["weights"], best.x[:3], atol=0.02)


@pytest.mark.parametrize("weights", [[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
def test_it_finds_planted_weights(weights):
    module = nn.Linear(4, 3).double()
    members = states(module, 3, scale=1.0)
    data, report = judged(module, planted(members, weights, module), kind="gaussian")
    found = Learned(n_steps=400)(members, objective=data)
    assert report["weights"] == pytest.approx(weights, abs=1e-3)
    assert report["temperature"] == 1.0  # values have none
    assert_close(found, mixed(members, report["weights"]), 1e-12)


def test_free_weights_leave_the_simplex_and_sum_to_one():
    module, weights = nn.Linear(4, 3).double(), [1.4, -0.3, -0.1]
    members = states(module, 3, scale=1.0)
    batch = planted(members, weights, module)
    data, report = judged(module, batch, kind="gaussian")
    Learned(simplex=False, n_steps=400)(members, objective=data)
    assert report["weights"] == pytest.approx(weights, abs=1e-3)
    assert sum(report["weights"]) == pytest.approx(1, abs=1e-12)
    data, report = judged(module, batch, kind="gaussian")
    Learned(n_steps=400)(members, objective=data)
    assert report["loss"] > 0.1
    assert min(report["weights"]) > 0
    assert sum(report["weights"]) == pytest.approx(1, abs=1e-12)


def test_layers_have_weights_of_their_own():
    module = perceptron(4, 6, 3)
    members = states(module, 2, scale=1.0)
    weights = {"0": [0.8, 0.2], "2": [0.1, 0.9]}
    batch = planted(members, weights, module)
    data, report = judged(module, batch, kind="gaussian")
    found = Learned(per_layer=True, n_steps=400)(members, objective=data)
    assert [*report["weights"]] == ["0", "2"]
    for name, expected in weights.items():
        assert report["weights"][name] == pytest.approx(expected, abs=0.01)
    assert_close(found, mixed(members, report["weights"]), 1e-12)
    together, reported = judged(module, batch, kind="gaussian")
    Learned(n_steps=400)(members, objective=together)
    assert reported["loss"] > 10 * report["loss"]
