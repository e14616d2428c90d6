"""Straight-through matching: its gradient, planted permutations, a loss that never rises, and the rows that it uses."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from skfusion.align import StraightThrough, WeightMatching
from skfusion.align.permutation._midpoint import midpoint_loss
from skfusion.align.permutation._straight_through import midpoint
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import distance, weighted_sum
from skfusion.tracing import symmetry_of


def rows(n=60, seed=0, dead=0):
    """Return rows of six columns, the last of which may be zero throughout, and labels."""
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    y = (x[:, 0] * x[:, 1] > x[:, 2]).long()
    x[:, 6 - dead :] = 0
    return x, y


def refuse(*_):
    raise AssertionError("Rows that networks are judged on are no business of this method.")


def data_of(module, x, y, size=20, weight=None):
    """Return an objective that refuses to judge."""
    index = torch.arange(len(x)).split(size)
    batches = [Batch(x[i], y[i], None if weight is None else weight[i]) for i in index]

    def criterion(out, batch):
        loss = F.cross_entropy(out, batch.y, reduction="none")
        return loss.mean() if batch.weight is None else (loss * batch.weight).sum() / batch.weight.sum()

    return ModuleObjective(module, lambda: batches, refuse, refuse, held_out=refuse, criterion=criterion)


def perceptron(width=8, norm=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = [nn.Linear(6, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU(), nn.Linear(width, width)]
        return nn.Sequential(*parts, nn.ReLU(), nn.Linear(width, 2)).eval()


def trained(module, x, y, seed=0):
    """Return a state of a module that fits rows."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        state = {k: torch.randn_like(v).mul_(0.4).requires_grad_() for k, v in module.state_dict().items()}
        optimizer = torch.optim.Adam(state.values(), 0.02)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(torch.func.functional_call(module, state, (x,)), y).backward()
            optimizer.step()
    return {k: v.detach() for k, v in state.items()}


def misled():
    """Return a problem in which weights mislead: large ones stand at columns that are zero, in which states differ."""
    module, (x, y) = perceptron(), rows(dead=2)
    symmetry, generator = symmetry_of(module, x[:4]), torch.Generator().manual_seed(1)
    a = trained(module, x, y)
    b = {k: v.clone() for k, v in symmetry.permute(symmetry.sample(0), a).items()}
    for state in (a, b):
        state["0.weight"][:, 4:] = 10 * torch.randn(8, 2, generator=generator)
    return a, b, symmetry, data_of(module, x, y)


def test_gradient_is_half_of_that_at_the_midpoint():
    module, (x, y) = perceptron(), rows()
    a, b, c = (trained(module, x, y, seed) for seed in range(3))
    surrogate = {k: v.clone().requires_grad_() for k, v in c.items() if k != "4.bias"}
    middle = midpoint(a, b, surrogate)
    expected = weighted_sum([a, b], [0.5, 0.5])
    for k, v in expected.items():
        torch.testing.assert_close(middle[k].detach(), v)  # the loss does not see the surrogate
    leaves = {k: v.requires_grad_() for k, v in expected.items()}
    slopes = [
        torch.autograd.grad(F.cross_entropy(torch.func.functional_call(module, state, (x,)), y), [*where.values()])
        for state, where in ((middle, surrogate), (leaves, {k: leaves[k] for k in surrogate}))
    ]
    for found, at_the_midpoint in zip(*slopes, strict=True):
        torch.testing.assert_close(found, at_the_midpoint / 2)


def test_tied_tensors_have_one_gradient_and_stay_tied():
    w = torch.randn(3, 3)
    state, other = {"a": w, "b": w}, {"a": (v := w + 1), "b": v}
    middle = midpoint(state, other, {"a": w.clone().requires_grad_()})
    assert middle["a"] is middle["b"]


def test_planted_permutation_is_recovered_and_has_the_loss_of_the_network():
    module, (x, y) = perceptron(), rows()
    symmetry, data, a = symmetry_of(module, x[:4]), data_of(module, x, y), trained(module, x, y)
    for seed in range(3):
        planted = symmetry.permute(symmetry.sample(seed), a)
        found = StraightThrough()(planted, a, symmetry, data)
        assert distance(found.apply(planted), a) == 0
        assert midpoint_loss(data, a, found.apply(planted)) == pytest.approx(midpoint_loss(data, a, a))


def test_loss_leads_where_weights_mislead():
    a, b, symmetry, data = misled()
    by_weights = WeightMatching()(b, a, symmetry)
    found = StraightThrough(20)(b, a, symmetry, data)
    assert found.history[0] == pytest.approx(-midpoint_loss(data, a, b))
    assert found.history[1] == pytest.approx(-midpoint_loss(data, a, by_weights.apply(b)))
    assert found.history[-1] == pytest.approx(-midpoint_loss(data, a, found.apply(b)))
    assert (np.diff(found.history[1:]) >= 0).all()
    assert found.history[-1] > found.history[1]


def test_midpoint_loss_is_that_of_all_rows():
    module, (x, y) = perceptron(), rows()
    a, b = (trained(module, x, y, seed) for seed in range(2))
    middle = weighted_sum([a, b], [0.5, 0.5])
    out = torch.func.functional_call(module, middle, (x,))
    each = F.cross_entropy(out, y, reduction="none")
    assert midpoint_loss(data_of(module, x, y, 13), a, b) == pytest.approx(float(each.mean()), rel=1e-5)
    weight = torch.arange(60) % 3.0
    expected = float((each * weight).sum() / weight.sum())
    assert midpoint_loss(data_of(module, x, y, 13, weight), a, b) == pytest.approx(expected, rel=1e-5)


def test_rows_of_no_weight_do_not_count():
    a, b, symmetry, data = misled()
    x, y = rows(dead=2)
    weight = torch.arange(60) % 2.0
    x[weight == 0] = torch.nan
    found = StraightThrough(3)(b, a, symmetry, data_of(data.module, x, y, 20, weight))
    assert np.isfinite(found.history).all()


def test_data_whose_labels_are_random_are_learned_from_as_any_others_and_say_nothing_of_new_ones():
    module, accuracies = perceptron(), []
    for seed in range(6):
        x, _ = rows(80, seed)
        y = torch.randint(2, (80,), generator=torch.Generator().manual_seed(seed))
        symmetry, data = symmetry_of(module, x[:4]), data_of(module, x[:40], y[:40])
        a, b = (trained(module, x[:40], y[:40], k) for k in range(2))
        moved = StraightThrough(5)(b, a, symmetry, data).apply(b)
        out = torch.func.functional_call(module, weighted_sum([a, moved], [0.5, 0.5]), (x[40:],))
        accuracies.append(float((out.argmax(1) == y[40:]).float().mean()))
    assert abs(np.mean(accuracies) - 0.5) <= 4 * 0.5 / 240**0.5


def test_batch_norm_uses_the_statistics_of_the_batch_and_nothing_is_left():
    module, (x, y) = perceptron(norm=True), rows()
    symmetry, data = symmetry_of(module, x[:4]), data_of(module, x, y)
    a, b = (
        {k: torch.rand_like(v) + 0.1 if v.is_floating_point() else v for k, v in module.state_dict().items()}
        for _ in range(2)
    )
    kept = {k: v.clone() for k, v in module.state_dict().items()}
    module.train()
    found = StraightThrough(2)(b, a, symmetry, data)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(v, kept[k]) for k, v in module.state_dict().items())
    wild = [{**s, "1.running_mean": s["1.running_mean"] + 100} for s in (a, b)]
    again = StraightThrough(2)(wild[1], wild[0], symmetry, data)
    assert again.history == pytest.approx(found.history)


def test_no_epochs_and_networks_without_units():
    a, b, symmetry, data = misled()
    assert StraightThrough(0)(b, a, symmetry, data) == WeightMatching()(b, a, symmetry)
    linear = nn.Linear(6, 2)
    x, y = rows()
    state, other = linear.state_dict(), {k: v + 1 for k, v in linear.state_dict().items()}
    assert len(StraightThrough()(other, state, symmetry_of(linear, x), data_of(linear, x, y))) == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_epochs": -1}, "n_epochs must be at least 0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": np.nan}, "lr must be above 0"),
        ({"momentum": 1.0}, "momentum at least 0 and below 1"),
    ],
)
def test_bad_parameters(params, message):
    a, b, symmetry, data = misled()
    with pytest.raises(ValueError, match=message):
        StraightThrough(**params)(b, a, symmetry, data)


def test_bad_input():
    a, b, symmetry, data = misled()
    with pytest.raises(ValueError, match="needs to know which units may change places"):
        StraightThrough()(b, a, None, data)
    with pytest.raises(ValueError, match="give it an objective with a criterion and labels"):
        StraightThrough()(b, a, symmetry)
    with pytest.raises(ValueError, match="give it an objective with a criterion and labels"):
        StraightThrough()(b, a, symmetry, ModuleObjective(data.module, data.batches))
    x, _ = rows()
    unlabelled = ModuleObjective(data.module, lambda: [Batch(x, None)], criterion=data.criterion)
    with pytest.raises(ValueError, match="needs labels, and a batch of the objective has y=None"):
        StraightThrough()(b, a, symmetry, unlabelled)
    endless = ModuleObjective(data.module, data.batches, criterion=lambda out, batch: out.sum() * torch.nan)
    with pytest.raises(ValueError, match="diverged in epoch 1: give it a smaller lr"):
        StraightThrough()(b, a, symmetry, endless)
    empty = ModuleObjective(data.module, list, criterion=data.criterion)
    with pytest.raises(ValueError, match="the objective has none"):
        StraightThrough()(b, a, symmetry, empty)
