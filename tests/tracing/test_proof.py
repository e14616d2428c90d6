"""Rules that are wrong do no harm: what the proof does not confirm is frozen, by name."""

import pytest
import torch
from torch import nn
from tracing.attention import Function
from tracing.checks import error, in_general_position, sizes
from tracing.networks import between, mlp, rows

from skfusion.symmetry import Symmetry
from skfusion.tracing import _call as call_module
from skfusion.tracing import rule, symmetry_of
from skfusion.tracing._run import perturbed, tensors_of


@pytest.fixture
def rules(monkeypatch):
    """A copy of the table of rules, to be spoilt."""
    monkeypatch.setattr(call_module, "RULES", dict(call_module.RULES))
    return call_module.RULES


def two_paths():
    """A layer whose order matters, and one whose order does not."""
    return Function(
        lambda m, x: m.b(m.a(x).cumsum(1)) + m.d(m.c(x).relu()),
        a=nn.Linear(3, 6),
        b=nn.Linear(6, 2),
        c=nn.Linear(3, 5),
        d=nn.Linear(5, 2),
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_broken_rule_is_caught_and_only_its_groups_are_frozen(rules, seed):
    rule("cumsum")(lambda call: call.label_of("self"))
    module = two_paths()
    assert sizes(symmetry_of(module, rows(), verify=False)) == ([5, 6], [])
    with pytest.warns(UserWarning, match=r"Function changed .* frozen: a.weight:0\."):
        found = symmetry_of(module, rows(), random_state=seed)
    assert sizes(found) == ([5], [])
    assert "output changed" in found.pinned["a.weight", 0]
    assert error(found, in_general_position(module), rows()) <= 1e-9


def test_a_broken_rule_that_a_fresh_network_hides(rules):
    """With a head of zeros, nothing changes the output: the proof moves it away from there."""
    rule("cumsum")(lambda call: call.label_of("self"))
    module = between(lambda x: x.cumsum(1))
    nn.init.zeros_(module.b.weight)
    with pytest.warns(UserWarning, match="frozen"):
        assert sizes(symmetry_of(module, rows())) == ([], [])


def test_a_broken_rule_of_running_statistics(rules):
    """Fresh statistics are all alike, and hide that they should move."""
    module = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    sound = symmetry_of(module, rows())
    axes = {n: a if "running" not in n else ((),) * len(a) for n, a in sound.axes.items()}
    broken = Symmetry(sound.groups.values(), axes, sound.shapes)
    assert error(broken, in_general_position(module), rows()) > 1e-3
    rule("_native_batch_norm_legit_no_training", "native_batch_norm")(lambda call: [call.label_of("input"), None, None])
    with pytest.warns(UserWarning, match="frozen"):
        found = symmetry_of(module, rows())
    assert error(found, in_general_position(module), rows()) <= 1e-9


def test_a_rule_that_raises_pins(rules):
    @rule("relu")
    def broken(call):
        raise KeyError("oh")

    found = symmetry_of(mlp(), rows())
    assert sizes(found) == ([5], [])
    assert any("operation relu in module '1' has a rule that failed (KeyError: 'oh')" in note for note in found.notes)


def test_a_rule_that_gives_up_pins(rules):
    rule("relu")(lambda call: None)
    found = symmetry_of(mlp(), rows())
    assert sizes(found) == ([5], [])
    assert any("relu" in note and "not followed" in note for note in found.notes)


def test_a_rule_for_an_operation_of_ones_own(rules):
    with torch.library._scoped_library("skfusion_test", "DEF") as library:
        library.define("doubled(Tensor x) -> Tensor")
        library.impl("doubled", lambda x: 2 * x, "CompositeExplicitAutograd")
        module = between(torch.ops.skfusion_test.doubled)
        assert sizes(symmetry_of(module, rows())) == ([], [])
        rule("skfusion_test::doubled")(lambda call: call.label_of("x"))
        assert sizes(symmetry_of(module, rows())) == ([6], [])


def test_float32_is_enough_where_float64_does_not_run():
    class Single(nn.Module):
        def forward(self, x):
            if x.dtype is torch.float64:
                raise RuntimeError("only float32 is supported")
            return x.tanh()

    module = nn.Sequential(nn.Linear(3, 6), Single(), nn.Linear(6, 2))
    found = symmetry_of(module, rows())
    assert sizes(found) == ([6], [])
    assert any("only float32 is supported" in note for note in found.notes)


def test_tolerance_is_what_is_asked_for():
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    with pytest.warns(UserWarning, match="frozen"):
        assert sizes(symmetry_of(net, rows(), tolerance=1e-30)) == ([], [])


def test_perturbation_moves_what_a_fresh_network_hides_and_nothing_else():
    module = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    nn.init.zeros_(module[2].weight)
    module.register_buffer("constant", torch.ones(3))
    state = tensors_of(module, torch.float64)
    moved = perturbed(module, state, 0)
    same = {n for n in state if torch.equal(moved[n], state[n])}
    assert same == {"0.weight", "constant", "1.num_batches_tracked"}
    assert (moved["1.running_var"] > 0).all()
    assert torch.equal(tensors_of(module, torch.float64)["2.weight"], torch.zeros(2, 6).double())
