"""Rules that are wrong do no harm: what the proof does not confirm is frozen, by name."""

import numpy as np
import pytest
import torch
from torch import nn
from tracing.attention import Function
from tracing.checks import error, in_general_position, sizes
from tracing.networks import between, mlp, rows

from skfusion.symmetry import Symmetry
from skfusion.tracing import _call as call_module
from skfusion.tracing import _proof, rule, symmetry_of
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


# ---- what the proof can see ------------------------------------------------------------------------------------------

WIDE = {"a.weight": ("wide", None), "a.bias": ("wide",), "b.weight": (None, "wide")}


def wide(between, n=300):
    """Return a layer of many units, after which something is computed."""
    torch.manual_seed(0)
    return Function(lambda m, x: m.b(between(m.a(x).relu())), a=nn.Linear(3, n), b=nn.Linear(n, 2))


def one_unit(h):
    """Treat one unit a little differently, by far less than single precision shows."""
    factors = torch.ones_like(h[0])
    factors[17] += 1e-6
    return h * factors


def one_pair(h):
    """Treat two units differently, which may change places with one another but not with others."""
    factors = torch.ones_like(h[0])
    factors[[3, 250]] += 1e-6
    return h * factors


@pytest.mark.parametrize("between", [lambda h: h, one_unit, one_pair, lambda h: h + 1e-6 * h.roll(1, -1)])
def test_one_unit_among_many_that_is_special_is_seen(between):
    sound = between.__name__ == "<lambda>" and torch.equal(between(torch.eye(2)), torch.eye(2))
    for seed in range(5):
        if sound:
            assert sizes(symmetry_of(wide(between), rows(), axes=WIDE, random_state=seed)) == ([300], [])
        else:
            with pytest.warns(UserWarning, match=r"frozen: wide\."):
                assert sizes(symmetry_of(wide(between), rows(), axes=WIDE, random_state=seed)) == ([], [])


def test_units_of_two_groups_that_move_only_together_are_seen():
    module = Function(
        lambda m, x: m.c(m.a(x).relu() * m.b(x)), a=nn.Linear(3, 40), b=nn.Linear(3, 40), c=nn.Linear(40, 2)
    )
    axes = {"a.weight": ("one", None), "a.bias": ("one",), "b.weight": ("two", None), "b.bias": ("two",)}
    with pytest.warns(UserWarning, match="frozen"):
        assert sizes(symmetry_of(module, rows(), axes=axes | {"c.weight": (None, "one")})) == ([], [])
    both = {name: tuple(g and "one" for g in parts) for name, parts in axes.items()}
    assert sizes(symmetry_of(module, rows(), axes=both | {"c.weight": (None, "one")})) == ([40], [])


def test_outputs_that_are_weights_are_compared_as_they_were():
    module = Function(lambda m, x: (m.b(m.a(x).relu()), m.a.weight), a=nn.Linear(3, 40), b=nn.Linear(40, 2))
    axes = {"a.weight": ("h", None), "a.bias": ("h",), "b.weight": (None, "h")}
    with pytest.warns(UserWarning, match="frozen"):
        assert sizes(symmetry_of(module, rows(), axes=axes)) == ([], [])


def test_groups_beside_a_wrong_one_are_verified_with_restored_weights():
    torch.manual_seed(0)
    module = Function(
        lambda m, x: m.b(one_unit(m.a(x).relu())) + m.d(m.c(x).relu()),
        a=nn.Linear(3, 60),
        b=nn.Linear(60, 2),
        c=nn.Linear(3, 50),
        d=nn.Linear(50, 2),
    )
    axes = {"a.weight": ("wrong", None), "a.bias": ("wrong",), "b.weight": (None, "wrong")}
    axes |= {"c.weight": ("right", None), "c.bias": ("right",), "d.weight": (None, "right")}
    with pytest.warns(UserWarning, match=r"frozen: wrong\."):
        assert sizes(symmetry_of(module, rows(), axes=axes)) == ([50], [])


def test_no_pair_of_units_is_left_out_of_a_proof():
    n, pair = 9, [3, 5]
    symmetry = Symmetry.of_axes({"w": ("g",)}, {"w": torch.zeros(n)})
    for seed in range(1000):
        every, _ = (e["g"] for e in _proof.elements(symmetry, seed))
        assert set(every[pair]) != {*pair}


def test_elements_move_all_units_and_then_a_few():
    shapes = {"a": torch.zeros(300, 2), "b": torch.zeros(5, 2), "c": torch.zeros(2, 2)}
    symmetry = Symmetry.of_axes({name: (name, None) for name in shapes}, shapes)
    every, few = zip(*(_proof.elements(symmetry, seed) for seed in range(40)), strict=True)
    still = np.arange(300)
    assert all((e["a"] != still).all() for e in every)
    assert all(0 <= (e["a"] != still).sum() <= _proof.FEW for e in few)
    for elements in (every, few):  # a small group is drawn from uniformly, the identity included
        assert {tuple(e["c"]) for e in elements} == {(0, 1), (1, 0)}
        assert len({tuple(e["b"]) for e in elements}) > 20
        assert all((np.sort(e["a"]) == still).all() for e in elements)


def test_three_runs_verify_whatever_the_number_of_groups():
    class Counted(nn.Module):
        runs = 0

        def forward(self, x):
            Counted.runs += 1
            return x

    counts = []
    for n_layers in (2, 8):
        layers = [part for _ in range(n_layers) for part in (nn.Linear(12, 12), nn.ReLU())]
        module, Counted.runs = nn.Sequential(Counted(), *layers, nn.Linear(12, 2)), 0
        assert len(symmetry_of(module, torch.randn(4, 12)).groups) == n_layers
        counts.append(Counted.runs)
    assert counts[0] == counts[1] <= 4
