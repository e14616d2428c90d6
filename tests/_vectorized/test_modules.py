"""Modules as the rows of a matrix, and what cannot be vectorized."""

import copy

import pytest
import torch
import torch.nn.functional as F
from _vectorized.loop import assert_like_the_loop
from _vectorized.modules import Averaging
from torch import nn

from skfusion._vectorized import (
    MemberAdam,
    Members,
    MemberSGD,
    NotVectorizableError,
    VectorizedModules,
)


def mlp(hidden=8, act=nn.ReLU, bias=True):
    return nn.Sequential(nn.Linear(6, hidden, bias=bias), nn.BatchNorm1d(hidden), act(), nn.Linear(hidden, 3))


def frozen():
    module = mlp()
    module[0].weight.requires_grad_(False)
    return module


def values(module):
    return {name: t.clone() for name, t in module.state_dict().items()}


def assert_values(module, expected):
    found = module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], t) for name, t in expected.items())


def step(vectorized, x, y, optimizer=None, **settings):
    """Train one step; x and y have a row of data for each row of the vectorized."""
    with vectorized.running(True) as module:
        loss = F.cross_entropy(module(Members(x)), Members(y)).value
        grad = vectorized.gradient(loss)
    (optimizer or MemberSGD(vectorized.theta)).step(grad.clone(), **{"lr": 0.1, **settings})
    return grad


def data(n, seed=0):
    """Return inputs and targets of n members, those of each drawn from its own seed."""
    made = [torch.Generator().manual_seed(1000 * seed + k) for k in range(n)]
    x = torch.stack([torch.randn(11, 6, generator=g) for g in made])
    return x, torch.stack([torch.randint(3, (11,), generator=g) for g in made])


def test_modules_keep_their_values_and_become_views():
    modules = [mlp() for _ in range(3)]
    before = [values(m) for m in modules]
    vectorized = VectorizedModules(modules)
    n_parameters, rest = sum(p.numel() for p in modules[0].parameters()), vectorized.theta.shape[1]
    assert (len(vectorized.theta), rest) == (3, -(-n_parameters // 16) * 16)
    assert not vectorized.theta[:, n_parameters:].any()
    for module, expected in zip(modules, before, strict=True):
        assert_values(module, expected)
    vectorized.theta.mul_(2)
    torch.testing.assert_close(modules[2][0].weight.detach(), 2 * before[2]["0.weight"])
    with torch.no_grad():
        modules[1][3].bias.fill_(7)
    assert vectorized.leaves["3.bias"][1].eq(7).all()
    assert vectorized.by_name(vectorized.theta[1])["3.bias"].eq(7).all()
    vectorized.held["1.running_mean"][0] = 5
    assert modules[0][1].running_mean.eq(5).all()


def test_gradients_follow_the_names():
    assert_like_the_loop(mlp, torch.float64, torch.randn(3, 11, 6, dtype=torch.float64))
    vectorized = VectorizedModules([mlp() for _ in range(3)])
    grad = step(vectorized, *data(3))
    assert list(vectorized.by_name(grad[0])) == [name for name, _ in vectorized.modules[0].named_parameters()]


def test_a_gradient_may_be_written_to_a_place():
    vectorized = VectorizedModules([mlp() for _ in range(3)])
    (x, y), place = data(3), torch.zeros_like(vectorized.theta)
    with vectorized.running(True) as module:
        loss = F.cross_entropy(module(Members(x)), Members(y)).value
        assert vectorized.gradient(loss, out=place) is place
    assert place.abs().sum(1).gt(0).all()


def train(chunk, x, y, make=mlp, kind=MemberAdam, n_steps=20):
    """Train the members in a chunk, from the same initial values as ever; return their parameters and buffers."""
    modules = []
    for k in chunk:
        torch.manual_seed(k)
        modules.append(make())
    vectorized = VectorizedModules(modules)
    rows = torch.tensor([*chunk] * (len(vectorized.theta) // len(chunk)))
    optimizer = kind(vectorized.theta)
    for i in range(n_steps):
        at = torch.arange(i, i + 8) % 11
        step(vectorized, x[rows][:, at], y[rows][:, at], optimizer, lr=0.01, weight_decay=0.1)
    return [values(module) for module in modules]


WIDTHS = {
    "relu": mlp,
    "relu, odd": lambda: mlp(3, bias=False),
    "relu, wide": lambda: mlp(17),
    "relu, very wide": lambda: mlp(41),
    "tanh": lambda: mlp(16, nn.Tanh),
    "gelu": lambda: mlp(8, nn.GELU, bias=False),
    "silu": lambda: mlp(8, nn.SiLU),
}
"""Such functions as SiLU round in another way at the end of an array that is no multiple of a CPU's vectors."""


@pytest.mark.parametrize("kind", [MemberSGD, MemberAdam])
@pytest.mark.parametrize("make", WIDTHS.values(), ids=WIDTHS)
def test_members_do_not_depend_on_the_number_of_the_others(make, kind):
    x, y = data(13)
    whole = train(range(13), x, y, make, kind)
    assert not torch.equal(whole[0]["0.weight"], whole[1]["0.weight"])
    for size in (1, 2, 5):
        chunks = [range(i, min(i + size, 13)) for i in range(0, 13, size)]
        parts = [member for chunk in chunks for member in train(chunk, x, y, make, kind)]
        for part, member in zip(parts, whole, strict=True):
            assert all(torch.equal(part[name], t) for name, t in member.items())


def test_members_do_not_depend_on_the_data_of_others():
    (x, y), (other_x, other_y) = data(5), data(5, seed=1)
    other_x[2], other_y[2] = x[2], y[2]
    other_x[0] = float("nan")
    a, b = train(range(5), x, y), train(range(5), other_x, other_y)
    assert all(torch.equal(a[2][name], b[2][name]) for name in a[2])
    assert not torch.equal(a[1]["0.weight"], b[1]["0.weight"])


@pytest.mark.parametrize("members", [[0, 2, 3], [3, 1], [2]], ids=str)
def test_members_that_leave_keep_their_values_and_no_longer_move(members):
    modules = [mlp() for _ in range(4)]
    vectorized, (x, y) = VectorizedModules(modules), data(4)
    step(vectorized, x, y)
    before = [values(m) for m in modules]
    copies = VectorizedModules(copy.deepcopy(modules))
    vectorized.keep(members)
    assert vectorized.modules == [modules[k] for k in members]
    for module, expected in zip(modules, before, strict=True):
        assert_values(module, expected)
    rows = members * (len(vectorized.theta) // len(members))
    step(vectorized, x[rows], y[rows])
    step(copies, x, y)
    for k in range(4):
        if k in members:
            torch.testing.assert_close(values(modules[k]), values(copies.modules[k]), rtol=0, atol=1e-6)
        else:
            assert_values(modules[k], before[k])
            assert len(modules[k][0].weight.untyped_storage()) == modules[k][0].weight.nbytes
    assert vectorized.intact()


def test_released_members_own_their_tensors():
    modules = [mlp() for _ in range(3)]
    vectorized = VectorizedModules(modules)
    before = values(modules[1])
    vectorized.release([1])
    vectorized.theta.zero_()
    vectorized.held["1.running_var"].zero_()
    assert_values(modules[1], before)
    assert not modules[0][0].weight.any()
    for t in (*modules[1].parameters(), *modules[1].buffers()):
        assert len(t.untyped_storage()) == t.nbytes


def replaced(module):
    module[0].weight = nn.Parameter(module[0].weight.detach().clone())


CHANGES = {
    "replaced": replaced,
    "other data": lambda m: setattr(m[3].bias, "data", torch.zeros(3)),
    "frozen": lambda m: m[3].weight.requires_grad_(False),
    "removed": lambda m: m[3].register_parameter("bias", None),
    "thawed": lambda m: m[0].weight.requires_grad_(True),
    "replaced buffer": lambda m: setattr(m[1], "running_mean", torch.zeros(8)),
}


@pytest.mark.parametrize("member", [0, 2])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_from_outside_is_noticed(name, member):
    vectorized = VectorizedModules([frozen() if name == "thawed" else mlp() for _ in range(3)])
    step(vectorized, *data(3))
    assert vectorized.intact()
    CHANGES[name](vectorized.modules[member])
    assert not vectorized.intact()


def test_values_written_from_outside_are_no_change():
    vectorized = VectorizedModules([mlp() for _ in range(3)])
    vectorized.modules[1].load_state_dict(mlp().state_dict())
    assert vectorized.intact()


def test_frozen_parameters_do_not_move():
    vectorized = VectorizedModules([frozen() for _ in range(3)])
    before = [values(m) for m in vectorized.modules]
    assert "0.weight" in vectorized.held
    assert "0.weight" not in vectorized.leaves
    step(vectorized, *data(3))
    for module, expected in zip(vectorized.modules, before, strict=True):
        assert torch.equal(module[0].weight, expected["0.weight"])
        assert not torch.equal(module[3].weight, expected["3.weight"])


def test_the_mode_is_that_asked_for():
    vectorized, (x, _) = VectorizedModules([mlp() for _ in range(3)]), data(3)
    before = vectorized.held["1.running_mean"].clone()
    with torch.no_grad(), vectorized.running(False) as module:
        module(Members(x))
        assert not module.training
    assert torch.equal(vectorized.held["1.running_mean"], before)
    with vectorized.running(True) as module:
        module(Members(x))
    assert vectorized.held["1.num_batches_tracked"].tolist() == [1, 1, 1]


class Resizing(Averaging):
    """A buffer that takes the shape of its input."""

    def forward(self, x):
        self.mean = x.detach()
        return self.head(x)


def test_a_buffer_that_is_assigned_keeps_its_shape():
    vectorized = VectorizedModules([Resizing() for _ in range(3)])
    message = "changes the shape or the dtype of its buffer 'mean'"
    with pytest.raises(NotVectorizableError, match=message), vectorized.running(True) as module:
        module(Members(torch.zeros(3, 5, 6)))
    assert vectorized.intact()
