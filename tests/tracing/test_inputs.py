"""What a module may take and return, what is left as it was, and what is said where something cannot be done."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from tracing.attention import Function
from tracing.checks import error, in_general_position, sizes
from tracing.networks import between, mlp, mlp_of, rows, sequence

from skfusion.tracing import symmetry_of


@dataclass
class Result:
    value: torch.Tensor
    more: dict


def two_inputs(m, a, b=None):
    return m.c((m.a(a) + m.b(a if b is None else b)).relu())


def two_input_net():
    return Function(two_inputs, a=nn.Linear(3, 6), b=nn.Linear(3, 6), c=nn.Linear(6, 2))


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = two_input_net()

    def forward(self, a, *, b):
        return self.net(a, b["x"])


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (two_input_net, lambda: rows()),
        (two_input_net, lambda: (rows(), rows())),
        (two_input_net, lambda: [rows(), rows()]),
        (Named, lambda: {"a": rows(), "b": {"x": rows()}}),
        (Named, lambda: (rows(), {"b": {"x": rows()}})),
    ],
)
def test_inputs_come_as_the_module_takes_them(module, example):
    assert sizes(symmetry_of(module(), example())) == ([6], [])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: {"a": y, "b": [y + 1, None]},
        lambda y: (y, {"c": y}),
        lambda y: Result(y, {"n": 3}),
        lambda y: torch.distributions.Normal(y, 1.0, validate_args=False),
    ],
)
def test_outputs_are_pinned_however_they_are_wrapped(wrap):
    module = Function(lambda m, x: wrap(m.b(m.a(x).relu())), a=nn.Linear(3, 5), b=nn.Linear(5, 4))
    found = symmetry_of(module, rows())
    assert sizes(found) == ([5], [])
    assert "output" in found.pinned["b.weight", 0]


def test_everything_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 2))
    module[0].weight.requires_grad_(False)
    module[1].eval()
    x = rows()
    state, before = {k: v.clone() for k, v in module.state_dict().items()}, x.clone()
    modes, rng = [m.training for m in module.modules()], torch.get_rng_state()
    attributes = [dict(vars(m)) for m in module.modules()]
    symmetry_of(module, x)
    assert torch.equal(torch.get_rng_state(), rng)
    assert [dict(vars(m)) for m in module.modules()] == attributes
    assert [m.training for m in module.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert torch.equal(x, before)
    assert [p.requires_grad for p in module.parameters()] == [False, True, True, True, True, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_module_in_training_mode_is_read_without_dropout():
    module = nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.9), nn.Linear(6, 2)).train()
    assert sizes(symmetry_of(module, rows())) == ([6], [])
    assert module.training


def test_everything_is_left_as_it_was_if_the_module_raises():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 6), nn.Linear(5, 2)).train()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ValueError, match="example_inputs"):
        symmetry_of(module, rows())
    assert module.training
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert not any(m._forward_hooks for m in module.modules())


def test_inputs_that_a_module_writes_to_are_copies():
    module = Function(lambda m, x: m.b(m.a(x.mul_(2)).relu()), a=nn.Linear(3, 5), b=nn.Linear(5, 2))
    x = rows()
    before = x.clone()
    assert sizes(symmetry_of(module, x)) == ([5], [])
    assert torch.equal(x, before)


class Counting(nn.Module):
    """Its forward pass writes to a buffer, and puts another in the place of a second one."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, x):
        self.calls += 1
        out = self.b(self.a(x).relu())
        self.last = out.mean(0)
        return out


def test_buffers_that_a_run_changes_are_restored():
    module = Counting()
    last = module.last
    assert sizes(symmetry_of(module, rows())) == ([5], [])
    assert float(module.calls) == 0
    assert module.last is last


class Auxiliary(nn.Module):
    """A head that only runs in training."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)
        self.aux = nn.Sequential(nn.Linear(6, 4), nn.Dropout(), nn.Linear(4, 2))

    def forward(self, x):
        h = F.dropout(self.norm(self.a(x)), 0.5, self.training)
        return (self.b(h), self.aux(h)) if self.training else self.b(h)


def test_heads_that_only_run_in_training_are_followed():
    module = Auxiliary()
    found = symmetry_of(module, rows())
    assert sizes(found) == ([4, 6], [])
    assert "a.weight:0" in found.axes["aux.0.weight"][1][0].groups
    assert not found.notes
    position = in_general_position(module)
    for training in (False, True):
        position.aux.train(training)
        assert error(found, position, rows()) <= 1e-9


def test_a_run_in_training_that_fails_is_noted():
    def forward(m, x):
        if m.training:
            raise RuntimeError("targets are missing")
        return m.b(m.a(x))

    module = Function(forward, a=nn.Linear(3, 6), b=nn.Linear(6, 2), unused=nn.Linear(4, 4))
    found = symmetry_of(module, rows())
    assert sizes(found) == ([6], [])
    assert any("targets are missing" in note for note in found.notes)
    assert any("unused.weight" in note for note in found.notes)
    assert "not used" in found.pinned["unused.weight", 0]


def test_buffers_are_constants():
    module = Function(lambda m, x: m.rest(m.mask * m.first(x)), first=mlp()[:2], rest=mlp()[2:])
    module.register_buffer("mask", torch.ones(7))
    found = symmetry_of(module, rows(), verify=False)
    assert sizes(found) == ([5], [])
    assert "buffer" in found.pinned["mask", 0]


def test_buffers_that_are_not_stored_do_not_matter():
    module = Function(lambda m, x: m.b(m.a(x) * m.scale), a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    module.register_buffer("scale", torch.arange(6.0), persistent=False)
    assert sizes(symmetry_of(module, rows())) == ([], [])


def test_declared_axes_are_verified():
    good = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")}
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    assert sizes(symmetry_of(net, rows(), axes=good)) == ([6], [])
    with pytest.warns(UserWarning, match="h"):
        assert sizes(symmetry_of(net, rows(), axes={"0.weight": ("h", None)})) == ([], [])


def test_recurrent_layers_with_other_layouts():
    module = Function(lambda m, x: m.b(m.a(x)[1][0][-1]), a=nn.LSTM(3, 5, 2, batch_first=True), b=nn.Linear(5, 2))
    assert sizes(symmetry_of(module, sequence())) == ([5, 5], [])


def test_a_network_without_units_that_move():
    found = symmetry_of(nn.Linear(3, 2), rows())
    assert not found.groups
    assert set(found.pinned) == {("weight", 0), ("weight", 1), ("bias", 0)}


def test_a_module_without_parameters():
    assert not symmetry_of(nn.ReLU(), rows()).groups


def test_layers_that_keep_what_they_computed():
    def forward(m, x):
        if not hasattr(m, "cache"):
            m.cache = m.a.weight.t().contiguous()
        return m.b((x @ m.cache).relu())

    module = Function(forward, a=nn.Linear(3, 6, bias=False), b=nn.Linear(6, 2))
    assert sizes(symmetry_of(module, rows())) == ([6], [])


def test_what_a_module_keeps_is_dropped_in_train_mode():
    """As a module should that keeps what it computed from its weights, or training would not change it."""

    class Keeping(nn.Linear):
        cache = None

        def train(self, mode=True):
            self.cache = None if mode else self.cache
            return super().train(mode)

        def forward(self, x):
            if self.cache is None:
                self.cache = self.weight.detach().t().contiguous()
            return x @ self.cache + self.bias

    module = nn.Sequential(Keeping(3, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    module(rows())
    assert sizes(symmetry_of(module, rows())) == ([6], [])


def test_weights_that_share_memory_are_tied():
    a, b = nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)
    b.weight = nn.Parameter(a.weight.data)
    module = nn.Sequential(nn.Linear(3, 5), a, nn.ReLU(), b, nn.ReLU(), nn.Linear(5, 2))
    found = symmetry_of(module, rows())
    assert sizes(found) == ([5], [])
    assert found.axes["1.weight"] is found.axes["3.weight"]


def test_batch_norm_without_statistics_or_scale():
    module = mlp_of(nn.BatchNorm1d(7, affine=False, track_running_stats=False))
    assert sizes(symmetry_of(module, rows())) == ([7], [])


def test_half_precision_inside_is_proven_with_a_wider_tolerance():
    module = between(lambda x: x.to(torch.float32).softmax(1).to(x.dtype))
    assert sizes(symmetry_of(module, rows())) == ([6], [])
