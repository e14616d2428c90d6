"""Whatever a run does to a module, it does to a copy; and what is random by itself is named as such."""

import os
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from tracing.attention import Function
from tracing.checks import sizes
from tracing.networks import mlp, rows

from skfusion.testing._laws_all import global_random_state
from skfusion.tracing import symmetry_of


class Lazily(nn.Module):
    """Its first run installs hooks, sets attributes, fills a cache, changes a weight in place, and its own counters."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 2)
        self.cache, self.history = {}, []
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if not hasattr(self, "ready"):
            self.a.register_forward_hook(lambda module, args, out: 2 * out)  # not the same if it is installed twice
            self.ready = torch.ones(1)
        self.calls += 1
        self.cache["rows"] = len(x)
        self.history.append(x)
        self.b.weight.data = self.b.weight.data.clamp(-0.1, 0.1)
        return self.b(self.a(x).relu())


def contents(module):
    """Everything that can be seen of a module, hooks included."""
    parts = [{k: v for k, v in vars(m).items() if not k.startswith("_")} for m in module.modules()]
    hooks = [[*m._forward_hooks.values(), *m._forward_pre_hooks.values()] for m in module.modules()]
    tensors = {n: (t, t.clone()) for n, t in [*module.named_parameters(), *module.named_buffers()]}
    return repr(parts), hooks, tensors


@pytest.mark.parametrize("verify", [False, True])
def test_what_a_first_run_installs_is_installed_once(verify):
    module, other, x = Lazily(), Lazily(), rows()
    other.load_state_dict(module.state_dict())
    parts, hooks, tensors = contents(module)
    for _ in range(2):
        assert sizes(symmetry_of(module, x, verify=verify)) == ([6], [])
        now_parts, now_hooks, now_tensors = contents(module)
        assert now_parts == parts
        assert now_hooks == hooks
        assert now_tensors.keys() == tensors.keys()
        for name, (tensor, value) in tensors.items():
            assert now_tensors[name][0] is tensor
            assert torch.equal(now_tensors[name][1], value)
    assert not hasattr(module, "ready")
    for _ in range(2):
        assert torch.equal(module(x), other(x))
    assert sizes(symmetry_of(module, x, verify=verify)) == ([6], [])  # after a run of its owner
    assert torch.equal(module(x), other(x))


def test_results_that_a_module_keeps_do_not_keep_it_from_being_copied():
    module = Function(lambda m, x: m.b(m.a(x).relu()), a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    module.kept = [module.a(rows()), {"again": module.a(rows())}]  # they carry a history, of which torch has no copy
    assert sizes(symmetry_of(module, rows())) == ([6], [])


def test_a_module_without_a_copy_is_named():
    module = mlp()
    module.lock = threading.Lock()
    for options in ({}, {"verify": False}, {"axes": {"0.weight": ("h", None)}}):
        with pytest.raises(
            TypeError, match=r"Sequential cannot be copied \(TypeError: cannot pickle .*lock.* only copies"
        ):
            symmetry_of(module, rows(), **options)


def test_a_forward_that_holds_the_module_itself_is_named():
    module = mlp()
    module.forward = lambda x: module[2:](module[:2](x))
    with pytest.raises(TypeError, match="A copy of Sequential runs weights of the original"):
        symmetry_of(module, rows())


MASKS = {
    "torch": lambda n: torch.rand(n) < 0.5,
    "numpy": lambda n: torch.from_numpy(np.random.rand(n) < 0.5),  # noqa: NPY002
    "random": lambda n: torch.tensor([random.random() < 0.5 for _ in range(n)]),
}


@pytest.mark.parametrize("name", MASKS)
def test_draws_from_global_generators_are_the_same_in_all_runs(name):
    def masked(m, x):
        return m.b(torch.where(MASKS[name](len(x))[:, None], m.a(x), 0.0).relu())

    module, x = Function(masked, a=nn.Linear(3, 6), b=nn.Linear(6, 2)), rows(64)
    before = global_random_state()
    assert sizes(symmetry_of(module, x)) == ([6], [])
    assert global_random_state() == before


def noise():
    return int.from_bytes(os.urandom(4), "little") / 2**32


def test_a_module_that_is_random_by_itself_is_named():
    module = Function(lambda m, x: m.b(m.a(x) * noise()), a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    with pytest.raises(ValueError, match="Function is random by itself: two runs"):
        symmetry_of(module, rows())
    assert sizes(symmetry_of(module, rows(), verify=False)) == ([6], [])


def test_a_module_that_is_random_by_itself_in_training_is_noted():
    def forward(m, x):
        return m.b(m.a(x)) + (m.c(x) * noise() if m.training else 0)

    module = Function(forward, a=nn.Linear(3, 6), b=nn.Linear(6, 2), c=nn.Linear(3, 2))
    found = symmetry_of(module, rows())
    assert sizes(found) == ([6], [])
    assert any("not verified in train mode, in which two runs" in note for note in found.notes)
