"""Weights that are learned on held-out rows."""

import math
from itertools import pairwise

import pytest
import torch
from merge.problems import (
    LOSSES,
    Named,
    Tied,
    assert_close,
    criterion_of,
    judged,
    mixed,
    normal,
    objective,
    perceptron,
    planted,
    states,
)
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from skfusion.merge import Learned, Uniform
from skfusion.objective import Batch


def rows(n=40, seed=0, n_classes=3):
    x = normal(n, 4, seed=seed)
    return Batch(x, (x @ normal(4, n_classes, seed=9)).argmax(1))


# By construction.


@pytest.mark.parametrize("lr", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("params", [{}, {"simplex": False}, {"per_layer": True, "temperature": False}])
def test_the_loss_is_never_above_that_of_the_mean(params, lr):
    module = perceptron(4, 6, 3, norm=True).eval()
    for seed in range(3):
        members = states(module, 3, seed=seed)
        data, report = judged(module, rows(20), rows(7, 1))
        found = Learned(lr=lr, n_steps=9, **params)(members, objective=data)
        assert report["loss"] <= report["uniform_loss"]
        assert report["uniform_loss"] == pytest.approx(data.loss(Uniform()(members)), abs=1e-12)
        assert report["loss"] == pytest.approx(data.loss(found), abs=1e-12)


def test_without_steps_it_is_the_mean():
    module = perceptron(4, 6, 3, norm=True)
    members = states(module, 3)
    data, report = judged(module, rows())
    assert_close(Learned(n_steps=0)(members, objective=data), Uniform()(members), 1e-14)
    assert report["weights"] == pytest.approx([1 / 3] * 3)


def test_of_equal_losses_the_mean_is_kept():
    module = perceptron(4, 6, 3)
    data, report = judged(module, rows(), loss=lambda state: 1.0)
    Learned(lr=1.0, n_steps=3)(states(module, 3), objective=data)
    assert report["weights"] == [1 / 3] * 3
    assert report["temperature"] == 1.0


def stepped(members, module, batch, per_layer, simplex, temperature, lr, kind):
    """The weights after one step of AdamW, by automatic differentiation of the formula."""
    layers = [*dict.fromkeys(n.rpartition(".")[0] for n in members[0])] if per_layer else [""]
    free = torch.zeros(len(layers), len(members), dtype=torch.float64, requires_grad=True)
    heat = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def weights():
        a = torch.softmax(free, 1) if simplex else 1 / len(members) + free - free.mean(1, keepdim=True)
        return dict(zip(layers, a, strict=True)) if per_layer else a[0]

    out = functional_call(module, mixed(members, weights()), (batch.x,))
    (LOSSES[kind](out / heat.exp() if temperature else out, batch.y)).mean().backward()
    optimizer = torch.optim.AdamW([{"params": [free]}, {"params": [heat]}], lr=lr, weight_decay=0)
    optimizer.step()
    found = weights()
    found = {name: a.tolist() for name, a in found.items()} if per_layer else found.tolist()
    return found, heat.exp().item()


@pytest.mark.parametrize("kind", ["categorical", "bernoulli"])
@pytest.mark.parametrize("temperature", [False, True])
@pytest.mark.parametrize("simplex", [False, True])
@pytest.mark.parametrize("per_layer", [False, True])
def test_a_step_is_that_of_adamw_on_the_formula(per_layer, simplex, temperature, kind):
    module, batch = perceptron(4, 6, 3), rows()
    members = states(module, 3)
    if kind == "bernoulli":
        batch = Batch(batch.x, F.one_hot(batch.y, 3).double())
    data, report = judged(module, batch, kind=kind)
    Learned(per_layer, simplex, temperature, lr=0.01, n_steps=1)(members, objective=data)
    weights, heat = stepped(members, module, batch, per_layer, simplex, temperature, 0.01, kind)
    assert report["loss"] < report["uniform_loss"]  # the step is a good one, and so it is kept
    if per_layer:
        assert {name: pytest.approx(w, abs=1e-9) for name, w in weights.items()} == report["weights"]
    else:
        assert report["weights"] == pytest.approx(weights, abs=1e-9)
    assert report["temperature"] == pytest.approx(heat, abs=1e-9)


def test_each_step_sees_one_batch_in_turn():
    module = perceptron(4, 6, 3)
    members = states(module, 2)
    data, _ = judged(module, rows(5), rows(6, 1), rows(7, 2))
    seen = []
    module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])) if torch.is_grad_enabled() else None)
    with torch.no_grad():  # of the caller
        Learned(n_steps=8)(members, objective=data)
    assert seen == [5, 6, 7, 5, 6, 7, 5, 6]


def test_a_larger_decay_stays_nearer_to_the_mean():
    module = nn.Linear(4, 3).double()
    members = states(module, 3, scale=1.0)
    batch, distances = planted(members, [0.9, 0.05, 0.05], module), []
    for decay in (0.0, 1.0, 20.0):
        data, report = judged(module, batch, kind="gaussian")
        Learned(weight_decay=decay, n_steps=300)(members, objective=data)
        distances.append(sum((w - 1 / 3) ** 2 for w in report["weights"]))
    assert all(after < before / 1.5 for before, after in pairwise(distances))


def test_the_best_pass_is_kept_where_the_loss_ceases_to_be_a_number():
    module = nn.Linear(4, 3).double()
    members = states(module, 2, scale=1.0)
    batch, calls = planted(members, [0.9, 0.1], module), []

    def criterion(out, b):
        assert bool(out.isfinite().all())
        calls.append(out.requires_grad)
        value = criterion_of("gaussian")(out, b)
        return value * math.nan if sum(calls) > 5 else value

    data, report = judged(module, batch, kind="gaussian", criterion=criterion)
    Learned(n_steps=50)(members, objective=data)
    assert sum(calls) == 6
    assert report["loss"] < report["uniform_loss"]
    assert report["weights"][0] > 0.5


@pytest.mark.parametrize("temperature", [False, True])
def test_rows_count_by_their_weights(temperature):
    module, batch, weight = perceptron(4, 6, 3), rows(6), torch.tensor([3.0, 0, 1, 2, 0, 1]).double()
    members = states(module, 2)
    merge = Learned(temperature=temperature, n_steps=5)
    index = torch.repeat_interleave(torch.arange(6), weight.long())
    data, report = judged(module, Batch(batch.x, batch.y, weight))
    other, expected = judged(module, Batch(batch.x[index], batch.y[index]))
    assert_close(merge(members, objective=data), merge(members, objective=other), 1e-9)
    assert report["loss"] == pytest.approx(expected["loss"], abs=1e-9)


# Networks.


def test_statistics_follow_the_weights_and_variances_stay_positive():
    module = perceptron(4, 6, 3, norm=True)
    members = states(module, 2, scale=1.0)
    best = members[0]
    x = normal(40, 4)
    batch = Batch(x, functional_call(module.eval(), best, (x,)).argmax(1).detach())
    data, report = judged(module, batch)
    found = Learned(simplex=False, lr=0.3, n_steps=30)(members, objective=data)
    a, b = report["weights"]
    assert b < 0
    mean = a * best["1.running_mean"] + b * members[1]["1.running_mean"]
    torch.testing.assert_close(found["1.running_mean"], mean, rtol=0, atol=1e-12)
    least = torch.minimum(*(s["1.running_var"] for s in members))
    var = a * best["1.running_var"] + b * members[1]["1.running_var"]
    torch.testing.assert_close(found["1.running_var"], torch.maximum(var, least), rtol=0, atol=1e-12)
    assert bool((var < least).any())
    assert int(found["1.num_batches_tracked"]) == 1


@pytest.mark.parametrize(
    ("make", "x"),
    [(Tied, normal(9, 4)), (Named, {"values": normal(9, 3, 4), "mask": torch.ones(9, 3).double()})],
)
def test_tied_tensors_and_named_inputs_go_through(make, x):
    module = make().double()
    members = states(module, 2)
    data, report = judged(module, Batch(x, torch.arange(9) % 3))
    before = [{name: t.clone() for name, t in s.items()} for s in members]
    found = Learned(per_layer=True, n_steps=10, lr=0.1)(members, objective=data)
    assert report["loss"] < report["uniform_loss"]
    assert len({t.data_ptr() for t in found.values()}) == len({t.data_ptr() for t in members[0].values()})
    assert not any(t.requires_grad for t in found.values())
    assert all(torch.equal(s[n], t) for s, old in zip(members, before, strict=True) for n, t in old.items())


# Bad input.


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_steps": -1}, "n_steps must be at least 0; got -1"),
        ({"lr": math.nan}, "lr and weight_decay must be finite and at least 0; got Learned.*lr=nan"),
        ({"lr": -1.0}, "lr and weight_decay must be finite"),
        ({"weight_decay": -1.0}, "lr and weight_decay must be finite"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    module = perceptron(4, 3)
    data, _ = judged(module, rows())
    with pytest.raises(ValueError, match=message):
        Learned(**params)(states(module, 2), objective=data)


def test_data_that_does_not_tell_enough_is_refused():
    module = perceptron(4, 3)
    members = states(module, 2)
    with pytest.raises(ValueError, match="give it an objective with held-out rows"):
        Learned()(members)
    with pytest.raises(ValueError, match="give it an objective with held-out rows"):
        Learned()(members, objective=objective(module, rows()))
    data, _ = judged(module, loss=lambda s: 0.0)
    with pytest.raises(ValueError, match="the objective has no held-out ones"):
        Learned()(members, objective=data)
    data = objective(module, held_out=lambda: [rows()])
    with pytest.raises(ValueError, match="give it an objective with a criterion"):
        Learned(temperature=False)(members, objective=data)
