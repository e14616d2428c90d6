"""Each row of a matrix is stepped as torch steps it by itself."""

import pytest
import torch
from torch import nn

from skfusion._vectorized import (
    MemberAdam,
    MemberSGD,
    NotVectorizableError,
    clip_gradients,
    current_settings,
    member_optimizer,
)

K, D = 3, 7
SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
SHARED = {
    "sgd": (SGD, {"lr": 0.3}),
    "momentum": (SGD, {"lr": 0.3, "momentum": 0.9}),
    "dampening": (SGD, {"lr": 0.3, "momentum": 0.9, "dampening": 0.4}),
    "nesterov": (SGD, {"lr": 0.3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "decay": (SGD, {"lr": 0.3, "weight_decay": 0.2}),
    "all of sgd": (SGD, {"lr": 0.3, "momentum": 0.8, "dampening": 0.2, "weight_decay": 0.2}),
    "adam": (ADAM, {"lr": 0.1}),
    "adam, eps": (ADAM, {"lr": 0.1, "eps": 0.1, "betas": (0.7, 0.9)}),
    "adam, decay": (ADAM, {"lr": 0.1, "weight_decay": 0.2}),
    "adam, first moment only": (ADAM, {"lr": 0.1, "betas": (0.0, 0.9)}),
    "adamw": (ADAMW, {"lr": 0.1, "weight_decay": 0.2}),
    "adamw without decay": (ADAMW, {"lr": 0.1, "weight_decay": 0.0, "eps": 0.01}),
    "adam, decoupled": (ADAM, {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
}
PER_MEMBER = {
    "rates": (SGD, {"lr": [0.1, 0.2, 0.0]}),
    "momenta": (SGD, {"lr": 0.1, "momentum": [0.9, 0.0, 0.5]}),
    "dampenings": (SGD, {"lr": 0.1, "momentum": [0.9, 0.0, 0.5], "dampening": [0.1, 0.3, 0.0]}),
    "one dampening": (SGD, {"lr": 0.1, "momentum": [0.9, 0.0, 0.5], "dampening": 0.3}),
    "nesterov": (SGD, {"lr": [0.1, 0.2, 0.3], "momentum": [0.9, 0.8, 0.5], "nesterov": True}),
    "decays": (SGD, {"lr": 0.1, "weight_decay": [0.1, 0.0, 0.3], "momentum": 0.5}),
    "rates of adam": (ADAM, {"lr": [0.1, 0.2, 0.0]}),
    "betas": (ADAM, {"lr": 0.1, "betas": [(0.9, 0.99), (0.0, 0.9), (0.5, 0.99)]}),
    "second betas": (ADAM, {"lr": 0.1, "betas": [(0.9, 0.99), (0.9, 0.9), (0.9, 0.999)]}),
    "eps": (ADAM, {"lr": 0.1, "eps": [1e-8, 0.1, 1.0]}),
    "decays of adam": (ADAM, {"lr": [0.1, 0.2, 0.3], "weight_decay": [0.1, 0.0, 0.3]}),
    "decays of adamw": (ADAMW, {"lr": [0.1, 0.2, 0.3], "weight_decay": [0.1, 0.0, 0.3]}),
}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
each_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float64", "float32"])
each_width = pytest.mark.parametrize("width", [D, 48], ids=["formulas", "fused"])
"""Numbers in a row: a kernel of torch steps rows that fill vectors of 64 bytes, as trained ones do."""


def optimizers(kind, options, dtype=torch.float64, n=D):
    """Return parameters and the optimiser of each member, its options taken from lists."""
    rows = [nn.Parameter(torch.randn(n, dtype=dtype)) for _ in range(K)]
    own = [{n: v[k] if isinstance(v, list) else v for n, v in options.items()} for k in range(K)]
    return rows, [kind([row], **o) for row, o in zip(rows, own, strict=True)]


def step_alone(rows, alone, grads):
    for row, optimizer, grad in zip(rows, alone, grads, strict=True):
        row.grad = grad.clone()
        optimizer.step()


def assert_rows(theta, rows):
    expected = torch.stack([row.detach() for row in rows])
    assert float((theta - expected).abs().max()) <= TOLERANCE[theta.dtype] * (1 + float(expected.abs().max()))


@each_dtype
@each_width
@pytest.mark.parametrize(("kind", "options"), SHARED.values(), ids=SHARED)
def test_settings_that_members_share(kind, options, width, dtype):
    rows, alone = optimizers(kind, options, dtype, width)
    theta = torch.stack([row.detach().clone() for row in rows])
    optimizer, given = member_optimizer(alone)(theta), current_settings(alone, theta)
    assert not any(isinstance(value, torch.Tensor) for value in given.values())
    for _ in range(5):
        grads = torch.randn(K, width, dtype=dtype)
        step_alone(rows, alone, grads)
        optimizer.step(grads.clone(), **given)
        assert_rows(theta, rows)


@each_dtype
@each_width
@pytest.mark.parametrize(("kind", "options"), PER_MEMBER.values(), ids=PER_MEMBER)
def test_settings_of_each_member(kind, options, width, dtype):
    rows, alone = optimizers(kind, options, dtype, width)
    theta = torch.stack([row.detach().clone() for row in rows])
    optimizer, given = member_optimizer(alone)(theta), current_settings(alone, theta)
    columns = [value for value in given.values() if isinstance(value, torch.Tensor)]
    assert columns
    assert all(c.shape == (K, 1) and c.dtype == torch.float64 for c in columns)
    for _ in range(5):
        grads = torch.randn(K, width, dtype=dtype)
        step_alone(rows, alone, grads)
        optimizer.step(grads.clone(), **given)
        assert_rows(theta, rows)


@pytest.mark.parametrize(("kind", "options"), [SHARED["adam, decay"], SHARED["adamw"]])
def test_a_row_does_not_depend_on_the_settings_of_others(kind, options):
    found = []
    for of_last in ({}, {"lr": 0.03, "betas": (0.7, 0.95), "weight_decay": 0.01}):
        torch.manual_seed(0)
        rows, alone = optimizers(kind, options, torch.float32, 48)
        alone[-1].param_groups[0].update(of_last)
        theta = torch.stack([row.detach() for row in rows])
        optimizer = member_optimizer(alone)(theta)
        for _ in range(5):
            optimizer.step(torch.randn(K, 48), **current_settings(alone, theta))
        found.append(theta)
    assert torch.equal(found[0][:-1], found[1][:-1])
    assert not torch.equal(found[0][-1], found[1][-1])


@pytest.mark.parametrize("piece", [1, 4, 10**6])
@pytest.mark.parametrize(("kind", "options"), [*SHARED.values(), *PER_MEMBER.values()], ids=[*SHARED, *PER_MEMBER])
def test_gradients_in_parts_are_stepped_like_a_matrix(kind, options, piece, monkeypatch):
    monkeypatch.setattr("skfusion._vectorized._optimizers._PIECE", piece)
    rows, alone = optimizers(kind, options)
    theta = torch.stack([row.detach().clone() for row in rows])
    optimizer, given = member_optimizer(alone)(theta), current_settings(alone, theta)
    for _ in range(3):
        grads = torch.randn(K, D, dtype=torch.float64)
        step_alone(rows, alone, grads)
        parts = [(slice(0, 4), grads[:, :4].reshape(K, 2, 2).mT.clone().mT), (slice(4, D), grads[:, 4:].clone())]
        optimizer.step(iter(parts), **given)
        assert_rows(theta, rows)


@pytest.mark.parametrize(("kind", "options"), [SHARED["all of sgd"], SHARED["adamw"], PER_MEMBER["betas"]])
def test_settings_may_change_from_step_to_step(kind, options):
    rows, alone = optimizers(kind, options)
    theta = torch.stack([row.detach().clone() for row in rows])
    optimizer = member_optimizer(alone)(theta)
    for i in range(5):
        for k, o in enumerate(alone):
            o.param_groups[0]["lr"] = 0.1 * (i + k)
        grads = torch.randn(K, D, dtype=torch.float64)
        step_alone(rows, alone, grads)
        optimizer.step(grads.clone(), **current_settings(alone, theta))
        assert_rows(theta, rows)


@pytest.mark.parametrize("members", [[0, 2], [2, 0], [1]], ids=str)
@pytest.mark.parametrize(("kind", "options"), [SHARED["nesterov"], SHARED["adam, decay"], SHARED["adamw"]])
def test_members_that_are_kept_go_on_exactly(kind, options, members):
    _, alone = optimizers(kind, options)
    whole = torch.randn(K, D, dtype=torch.float64)
    part, given = whole.clone(), current_settings(alone, whole)
    all_of_them, some = member_optimizer(alone)(whole), member_optimizer(alone)(part)
    for i in range(4):
        grads = torch.randn(K, D, dtype=torch.float64)
        if i == 2:
            part = part[members * (2 if len(members) == 1 else 1)]  # a single member has a spare row
            some.keep(part, members)
        mine = grads if i < 2 else grads[members * (len(part) // len(members))]
        all_of_them.step(grads.clone(), **given)
        some.step(mine.clone(), **given)
    assert torch.equal(part[: len(members)], whole[members])
    assert some.theta is part


def test_settings_are_read_from_the_optimisers():
    _, alone = optimizers(ADAM, {"lr": [0.1, 0.2, 0.3], "betas": [(0.9, 0.99), (0.8, 0.99), (0.9, 0.99)]})
    found = current_settings(alone, torch.zeros(1, dtype=torch.float64))
    assert found["lr"].tolist() == [[0.1], [0.2], [0.3]]
    assert found["beta1"].tolist() == [[0.9], [0.8], [0.9]]
    shared = {name: found[name] for name in ("beta2", "eps", "weight_decay", "nesterov", "decoupled")}
    assert shared == {"beta2": 0.99, "eps": 1e-8, "weight_decay": 0, "nesterov": False, "decoupled": False}
    assert "momentum" not in found
    _, alone = optimizers(SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True})
    found = current_settings(alone, torch.zeros(1))
    assert (found["momentum"], found["dampening"], found["nesterov"]) == (0.9, 0, True)
    assert "beta1" not in found
    assert current_settings(optimizers(ADAMW, {})[1], torch.zeros(1))["decoupled"]


@pytest.mark.parametrize(("kind", "found"), [(SGD, MemberSGD), (ADAM, MemberAdam), (ADAMW, MemberAdam)])
def test_optimisers_have_a_counterpart(kind, found):
    assert member_optimizer(optimizers(kind, {"lr": 0.1})[1]) is found


def two_groups():
    return [SGD([{"params": [nn.Parameter(torch.zeros(1))]}, {"params": [nn.Parameter(torch.zeros(1))]}], lr=0.1)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers(torch.optim.RMSprop, {})[1], "the optimiser RMSprop cannot be vectorized"),
        (lambda: [*optimizers(ADAM, {})[1], *optimizers(ADAMW, {})[1]], "the optimiser Adam cannot be vectorized"),
        (lambda: optimizers(type("Mine", (SGD,), {}), {"lr": 0.1})[1], "the optimiser Mine cannot be vectorized"),
        (two_groups, "its optimiser has several groups of parameters"),
        (lambda: optimizers(ADAM, {"amsgrad": [False, True, False]})[1], "the option amsgrad of Adam cannot be"),
        (lambda: optimizers(SGD, {"lr": 0.1, "maximize": True})[1], "the option maximize of SGD cannot be vectorized"),
        (lambda: optimizers(SGD, {"lr": 0.1, "differentiable": True})[1], "the option differentiable of SGD cannot"),
        (lambda: optimizers(ADAMW, {"capturable": True})[1], "the option capturable of AdamW cannot be vectorized"),
        (lambda: optimizers(SGD, {"lr": torch.tensor(0.1)})[1], "its learning rate is a tensor"),
        (
            lambda: optimizers(SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": [True, False, True]})[1],
            "only some members have the option nesterov of SGD",
        ),
        (
            lambda: optimizers(ADAM, {"decoupled_weight_decay": [False, True, True]})[1],
            "only some members have the option decoupled_weight_decay of Adam",
        ),
    ],
)
def test_what_cannot_be_vectorized_is_named(make, message):
    with pytest.raises(NotVectorizableError, match=message):
        member_optimizer(make())


@each_dtype
@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 3.0])
def test_clipping_is_that_of_torch(max_norm, norm_type, dtype):
    grads = torch.randn(K, D, dtype=dtype) * torch.tensor([0.01, 1.0, 100.0], dtype=dtype)[:, None]
    rows = []
    for grad in grads:
        parts = [nn.Parameter(torch.zeros(n, dtype=dtype)) for n in (3, D - 3)]
        for p, g in zip(parts, grad.split([3, D - 3]), strict=True):
            p.grad = g.clone()
        nn.utils.clip_grad_norm_(parts, max_norm, norm_type)
        rows.append(torch.cat([p.grad for p in parts]))
    before = grads.clone()
    parts = [(slice(0, 3), grads[:, :3].reshape(K, 3, 1).clone()), (slice(3, D), grads[:, 3:].clone())]
    clip_gradients(grads, max_norm, norm_type)
    clip_gradients(parts, max_norm, norm_type)
    whole = torch.cat([part.flatten(1) for _, part in parts], 1)
    for found in (grads, whole):
        torch.testing.assert_close(found, torch.stack(rows), rtol=10 * TOLERANCE[dtype], atol=0)
    assert torch.equal(grads[0], before[0])
    assert not torch.equal(grads[2], before[2])


LATE = {
    "momentum for all": [{"momentum": 0.0}] * 2 + [{"momentum": 0.9}] * 3,
    "momentum for some": [{"momentum": [0.9, 0.0, 0.0]}] * 2 + [{"momentum": [0.9, 0.5, 0.0]}] * 3,
    "momentum that pauses": [{"momentum": 0.9}] * 2 + [{"momentum": 0.0}] * 2 + [{"momentum": 0.9}] * 2,
    "momentum that pauses for some": [{"momentum": 0.9}] * 2
    + [{"momentum": [0.9, 0.0, 0.5]}] * 2
    + [{"momentum": 0.9}] * 2,
    "dampening": [{"momentum": 0.9, "dampening": 0.0}] * 2 + [{"momentum": 0.9, "dampening": 0.5}] * 2,
}


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dampening", [0.0, 0.5])
@pytest.mark.parametrize("name", LATE)
def test_momentum_that_changes(name, dampening, nesterov):
    start = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "dampening": 0.0 if nesterov else dampening}
    rows, alone = optimizers(SGD, start)
    theta = torch.stack([row.detach().clone() for row in rows])
    optimizer = member_optimizer(alone)(theta)
    for changed in LATE[name]:
        for key, values in changed.items():
            for k, o in enumerate(alone):
                if not (nesterov and key == "dampening"):
                    o.param_groups[0][key] = values[k] if isinstance(values, list) else values
        grads = torch.randn(K, D, dtype=torch.float64)
        step_alone(rows, alone, grads)
        optimizer.step(grads.clone(), **current_settings(alone, theta))
        assert_rows(theta, rows)


def test_momentum_that_changes_when_members_have_left():
    rows, alone = optimizers(SGD, {"lr": 0.1, "momentum": [0.0, 0.9, 0.0], "dampening": 0.5})
    theta = torch.stack([row.detach().clone() for row in rows])
    optimizer = member_optimizer(alone)(theta)
    for left in ([0, 1, 2], [1, 2]):
        if len(left) == 2:
            theta = theta[left].clone()
            optimizer.keep(theta, left)
            rows, alone = rows[1:], alone[1:]
            alone[1].param_groups[0]["momentum"] = 0.7
        for _ in range(2):
            grads = torch.randn(len(left), D, dtype=torch.float64)
            step_alone(rows, alone, grads)
            optimizer.step(grads.clone(), **current_settings(alone, theta))
            assert_rows(theta, rows)
