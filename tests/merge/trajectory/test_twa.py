"""Weights of checkpoints that are trained in their span."""

import copy

import numpy as np
import pytest
import torch
from merge.problems import Tied, criterion_of, normal, perceptron, states
from torch import nn
from torch.nn import functional as F

from skfusion.merge import TWA, Uniform
from skfusion.merge.trajectory._span import Span, orthonormal
from skfusion.objective import Batch, ModuleObjective
from skfusion.testing import _problems as problems

X = normal(60, 4)
Y = (X @ normal(4, 3, seed=9)).argmax(1)


def data_of(module, *batches, kind="categorical"):
    """An objective that trains on batches and judges by them, and what is reported to it."""
    batches = batches or (Batch(X[:25], Y[:25]), Batch(X[25:], Y[25:]))
    report, criterion = {}, criterion_of(kind)
    data = ModuleObjective(module, lambda: batches, criterion=criterion, report=report.__setitem__)

    def loss(state):
        with torch.no_grad():
            return sum(float(criterion(data.forward(state, b.x), b)) * len(b.y) for b in batches) / sum(
                len(b.y) for b in batches
            )

    return data, report, loss


def flat(state, names=None):
    return torch.cat([state[k].double().flatten() for k in names or state if state[k].is_floating_point()])


def test_without_epochs_it_is_the_mean():
    module = perceptron(4, 6, 3, norm=True)
    members = states(module, 3)
    data, report, _ = data_of(module)
    found, mean = TWA(n_epochs=0)(members, objective=data), Uniform()(members)
    for key, value in mean.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-12)
    assert report["weights"] == pytest.approx([1 / 3] * 3)
    assert report["losses"] == []


def test_the_basis_is_orthonormal_and_spans_the_members():
    rows = normal(5, 40)
    rows[3] = rows[0] - 2 * rows[1]
    basis, coordinates = orthonormal(rows)
    assert basis.shape == (4, 40)
    torch.testing.assert_close(basis @ basis.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(coordinates @ basis, rows, rtol=0, atol=1e-12)
    near = 100 + 1e-6 * normal(5, 40)  # checkpoints hardly differ
    basis, coordinates = orthonormal(near)
    torch.testing.assert_close(basis @ basis.T, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(coordinates @ basis, near, rtol=1e-12, atol=0)


def test_the_result_lies_in_the_span_and_is_the_sum_by_what_is_reported():
    module = perceptron(4, 6, 5, 3)
    members = states(module, 4)
    data, report, _ = data_of(module)
    found = TWA(n_epochs=5)(members, objective=data)
    rows, point = torch.stack([flat(m) for m in members]), flat(found)
    torch.testing.assert_close(torch.tensor(report["weights"], dtype=torch.float64) @ rows, point, rtol=0, atol=1e-9)
    best = torch.linalg.lstsq(rows.T, point[:, None]).solution
    assert float((rows.T @ best - point[:, None]).norm()) < 1e-6 * float(point.norm())
    assert abs(sum(report["weights"]) - 1) > 1e-4  # which is no constraint


def test_a_step_is_that_of_the_projected_gradient():
    """The descent of the weights themselves by P P' times the gradient, with SGD's momentum, by automatic gradients."""
    module = perceptron(4, 6, 3)
    members = states(module, 3)
    data, _, _ = data_of(module)
    found = TWA(n_epochs=4, lr=0.05, momentum=0.8, weight_decay=0.01)(members, objective=data)
    names = [*members[0]]
    basis = torch.linalg.qr(torch.stack([flat(m, names) for m in members]).T).Q
    projector = basis @ basis.T
    net = copy.deepcopy(module)
    net.load_state_dict(Uniform()(members))
    parameters = dict(net.named_parameters())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.8, weight_decay=0.01)
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = 0.05 * [1, 1, 0.1, 0.01][epoch]
        for part in (slice(25), slice(25, None)):
            optimizer.zero_grad()
            F.cross_entropy(net(X[part]), Y[part]).backward()
            whole = torch.cat([parameters[k].grad.flatten() for k in names])
            moved = projector @ whole
            assert moved.norm() <= whole.norm() * (1 + 1e-12)
            pieces = moved.split([parameters[k].numel() for k in names])
            for k, g in zip(names, pieces, strict=True):
                parameters[k].grad = g.view_as(parameters[k])
            optimizer.step()
    for key, value in net.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-10)


def test_the_gradient_by_the_point_is_the_projected_one():
    module = perceptron(4, 6, 3)
    span = Span(states(module, 3), module)
    slopes = [torch.randn(v.shape, generator=torch.Generator().manual_seed(0), dtype=v.dtype) for v in span.leaves]
    whole = torch.cat([g.flatten() for g in slopes])
    along = span.projected(slopes)
    assert along.norm() <= whole.norm()
    torch.testing.assert_close(along, span.basis @ whole)


def test_on_a_convex_model_the_loss_falls_to_the_least_in_the_span():
    module = nn.Linear(4, 1).double()
    members = states(module, 3, scale=1.0)
    y = X @ normal(4, 1, seed=3) + 0.1 * normal(60, 1, seed=4)
    data, report, loss = data_of(module, Batch(X, y), kind="gaussian")
    found = TWA(n_epochs=400, lr=0.02, weight_decay=0.0)(members, objective=data)
    A = torch.stack([(data.forward(m, X)).detach().flatten() for m in members], 1)
    best = torch.linalg.lstsq(A, y).solution
    least = float((A @ best - y).square().mean())
    assert loss(found) < loss(Uniform()(members))
    assert loss(found) == pytest.approx(least, rel=1e-6)
    np.testing.assert_allclose(report["weights"], best.flatten().numpy(), atol=1e-3)
    assert report["losses"][-1] <= report["losses"][0]


def test_of_one_direction_only_the_scale_is_trained():
    module = nn.Linear(4, 1, bias=False).double()
    (first,) = states(module, 1, scale=1.0)
    other = {k: 3 * v for k, v in first.items()}
    data, report, _ = data_of(module, Batch(X, 5 * (X @ first["weight"].T)), kind="gaussian")
    found = TWA(n_epochs=200, lr=0.05, weight_decay=0.0)([first, other], objective=data)
    torch.testing.assert_close(found["weight"], 5 * first["weight"], rtol=1e-3, atol=0)
    b = report["weights"]
    assert b[0] + 3 * b[1] == pytest.approx(5, rel=1e-3)


def test_what_all_members_have_in_common_stays_and_what_is_not_trained_is_averaged():
    module = perceptron(4, 6, 5, 3)
    module[4].weight.requires_grad_(False)
    members = states(module, 3)
    for member in members:
        member["0.weight"] = members[0]["0.weight"].clone()
    data, _, _ = data_of(module)
    found = TWA(n_epochs=3)(members, objective=data)
    torch.testing.assert_close(found["0.weight"], members[0]["0.weight"], rtol=0, atol=1e-15)
    mean = Uniform()(members)
    torch.testing.assert_close(found["4.weight"], mean["4.weight"], rtol=0, atol=1e-15)
    assert not torch.allclose(found["2.weight"], mean["2.weight"], atol=1e-4)


def test_ties_stay_and_statistics_and_the_module_are_left_alone():
    for module in (Tied().double(), perceptron(4, 6, 3, norm=True)):
        members = states(module, 3)
        data, _, _ = data_of(module.eval())
        before = problems.snapshot(module)
        with torch.no_grad():  # of the caller
            found = TWA(n_epochs=2)(members, objective=data)
        assert problems.snapshot(module) == before
        assert all(p.grad is None for p in module.parameters())
        assert not any(t.requires_grad for t in found.values())
        mean = Uniform()(members)
        for key in ("1.running_mean", "1.running_var"):
            if key in found:
                torch.testing.assert_close(found[key], mean[key], rtol=0, atol=1e-15)
    assert not torch.allclose(found["0.weight"], mean["0.weight"], atol=1e-4)


def test_dropout_and_the_order_of_rows_come_from_its_seed():
    module = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3)).double()
    members = states(module, 2)
    data, _, _ = data_of(module)
    torch.manual_seed(1)
    first, moved = TWA(n_epochs=2)(members, objective=data), torch.rand(())
    torch.manual_seed(1)
    assert torch.rand(()) == moved  # the caller's generator is left alone
    again, other = (TWA(n_epochs=2, random_state=s)(members, objective=data) for s in (0, 1))
    assert torch.equal(first["0.weight"], again["0.weight"])
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize(
    ("params", "message"),
    [({"n_epochs": -1}, "n_epochs must be a whole number"), ({"n_epochs": 1.5}, "n_epochs"), ({"lr": -1.0}, "lr"),
     ({"lr": None}, "lr"), ({"lr": float("nan")}, "finite"), ({"momentum": 1.0}, "momentum must be below 1"),
     ({"random_state": None}, "random_state")],
)  # fmt: skip
def test_wrong_parameters_are_refused(params, message):
    module = nn.Linear(4, 3).double()
    with pytest.raises(ValueError, match=message):
        TWA(**params)(states(module, 2), objective=data_of(module)[0])


def test_what_is_missing_to_train_is_named():
    module = nn.Linear(4, 3).double()
    members = states(module, 2)
    with pytest.raises(ValueError, match="TWA trains on labelled rows: give it an objective"):
        TWA()(members)
    with pytest.raises(ValueError, match="the objective has none"):
        TWA()(members, objective=ModuleObjective(module, lambda: [], criterion=criterion_of("categorical")))
    unlabelled = ModuleObjective(module, lambda: [Batch(X, None)], criterion=criterion_of("categorical"))
    with pytest.raises(ValueError, match="the labels are missing"):
        TWA()(members, objective=unlabelled)
    steep, _, _ = data_of(module, Batch(X, X @ normal(4, 3, seed=3)), kind="gaussian")
    with pytest.raises(ValueError, match=r"diverged in epoch \d+.*smaller lr than 1000.0"):
        TWA(lr=1000.0, n_epochs=200)(members, objective=steep)
