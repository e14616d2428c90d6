"""Symmetries beyond permutations: which kinds are found, that each keeps the function, and what is refused by name."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from transformers import MAKES, Decoder, RMSNorm, Tabular, make, outputs, random_state

from skfusion.align import TransformerMatching
from skfusion.state import distance
from skfusion.symmetry import canonicalise
from skfusion.tracing import symmetry_of
from skfusion.tracing._invariants import exponents

PAIRS = {"invertible": 4, "permutation": 4}  # two heads' groups a layer, and the units of its perceptron
GATED = {"invertible": 4, "permutation": 2, "scale": 2}
KINDS = {
    "gpt": PAIRS | {"orthogonal": 1},
    "gpt without biases": PAIRS | {"orthogonal": 1},
    "gpt spelled out": PAIRS | {"orthogonal": 1},
    "gpt with relu": GATED | {"orthogonal": 1},
    "gpt with tied embeddings": PAIRS | {"permutation": 5},
    "llama": GATED | {"orthogonal": 1},
    "llama of torch's norm": GATED | {"orthogonal": 1},
    "llama with tied embeddings": GATED | {"signed": 1},
    "llama with rotary positions": {"invertible": 2, "permutation": 2, "scale": 2, "orthogonal": 1},
    "llama with grouped keys": GATED | {"permutation": 4, "orthogonal": 1},
    "vision": PAIRS | {"orthogonal": 1},
    "vision with norms behind": PAIRS | {"permutation": 5},
}


@cache
def found(name):
    """Return a network, its inputs and its symmetry."""
    net, x = make(name)
    return net, x, symmetry_of(net, x, general=True)


@pytest.mark.parametrize("name", MAKES)
def test_the_kinds_of_all_groups_are_found(name):
    _, _, symmetry = found(name)
    assert Counter(symmetry.kinds.values()) == KINDS[name]


@pytest.mark.parametrize("name", MAKES)
def test_the_canonical_form_keeps_the_function_and_is_its_own(name):
    net, x, symmetry = found(name)
    state = random_state(net, 3)
    kept = {k: v.clone() for k, v in state.items()}
    form = canonicalise(state, symmetry)
    torch.testing.assert_close(outputs(net, form, x), outputs(net, state, x), rtol=0, atol=1e-10)
    assert distance(form, state) > 0.1
    assert distance(canonicalise(form, symmetry), form) < 1e-10 * distance(form, state)
    assert all(torch.equal(v, kept[k]) for k, v in state.items())


@pytest.mark.parametrize("name", MAKES)
def test_random_elements_keep_the_function_of_canonical_states(name):
    net, x, symmetry = found(name)
    form = canonicalise(random_state(net, 4), symmetry)
    expected = outputs(net, form, x)
    for seed in range(2):
        for group, maps in symmetry.linear.sample(seed).items():
            moved = symmetry.linear.transform({group: maps}, form)
            assert distance(moved, form) > 0.1
            torch.testing.assert_close(outputs(net, moved, x), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["gpt", "llama", "vision"])
def test_all_copies_of_a_canonical_state_have_gains_of_one_and_no_biases_of_keys_and_values(name):
    net, _, symmetry = found(name)
    form = canonicalise(random_state(net, 5), symmetry)
    gains = [t for k, t in form.items() if "norm" in k and k.endswith("weight")]
    assert len(gains) == 5
    assert all((t == 1).all() for t in gains)
    idle = [t for k, t in form.items() if k.endswith(("k.bias", "v.bias"))]
    idle += [t[8:] for k, t in form.items() if k.endswith("in_proj_bias")]  # of the keys and the values
    assert all((t == 0).all() for t in idle)
    if name != "llama":
        offsets = [t for k, t in form.items() if "norm" in k and k.endswith("bias")]
        assert sum(bool((t == 0).all()) for t in offsets) == (5 if name == "vision" else 4)  # one head has no bias


@pytest.mark.parametrize("name", ["gpt with tied embeddings", "llama with tied embeddings"])
def test_a_gain_before_tied_embeddings_stays_and_is_named(name):
    _, _, symmetry = found(name)
    assert any("'norm.weight'" in note for note in symmetry.notes)
    assert symmetry.kinds["symbols.weight:1"] in ("permutation", "signed")


def test_rotary_positions_leave_values_alone_to_be_mapped():
    _, _, symmetry = found("llama with rotary positions")
    mapped = {place.tensor for linear in symmetry.linear.maps.values() for place, e in linear.places if e}
    assert "blocks.0.attention.v.weight" in mapped
    pairs = [l for l in symmetry.linear.maps.values() if l.kind == "invertible"]
    assert not any("attention.q" in place.tensor for linear in pairs for place, _ in linear.places)


# ---------------------------------------------------------------------------------------------- what gains do to folds


@pytest.mark.parametrize("name", ["gpt", "llama", "vision"])
def test_gains_of_zero_give_finite_weights(name):
    net, x, symmetry = found(name)
    state = random_state(net, 6)
    for key in state:
        if "norm" in key and key.endswith("weight"):
            state[key][[0, 3]] = 0.0
            if key.startswith("norm") and name == "gpt":  # its head has no bias to which an offset could go
                state["norm.bias"][[0, 3]] = 0.0
    form = canonicalise(state, symmetry)
    assert all(bool(torch.isfinite(t).all()) for t in form.values())
    torch.testing.assert_close(outputs(net, form, x), outputs(net, state, x), rtol=0, atol=1e-10)


def test_a_gain_of_zero_before_an_offset_that_no_bias_takes_is_refused_by_name():
    net, _, symmetry = found("gpt")
    state = random_state(net, 6)
    state["norm.weight"][2] = 0.0
    with pytest.raises(ValueError, match=r"'norm\.weight' is zero .* 'norm\.bias'.* 'head\.weight'.* no bias"):
        canonicalise(state, symmetry)


def test_a_gain_does_not_pass_through_relu_whatever_its_sign_is_on_the_example():
    net = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)).double()
    symmetry = symmetry_of(net, torch.randn(5, 3, dtype=torch.float64), general=True)
    assert "the gain '1.weight' stays" in " ".join(symmetry.notes)
    state = random_state(net, 1)
    state["1.weight"] = torch.tensor([1.0, -2.0, 0.5, -0.1, 0.0, 3.0], dtype=torch.float64)
    x = torch.randn(20, 3, dtype=torch.float64)
    torch.testing.assert_close(outputs(net, canonicalise(state, symmetry), x), outputs(net, state, x))


@pytest.mark.parametrize(
    ("activation", "kind"),
    [(nn.ReLU6(), "permutation"), (nn.Hardtanh(-5, 5), "signed"), (nn.Threshold(-20, -20), "permutation")],
)
@pytest.mark.parametrize("bias", [True, False])
def test_what_holds_for_small_numbers_only_is_no_symmetry(activation, kind, bias):
    net = nn.Sequential(nn.Linear(3, 8, bias), activation, nn.Linear(8, 2, bias)).double()
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    symmetry = symmetry_of(net, x, general=True)
    assert {*symmetry.kinds.values()} == {kind}
    state = {name: 100 * t for name, t in net.state_dict().items()}
    torch.testing.assert_close(outputs(net, canonicalise(state, symmetry), x), outputs(net, state, x))


def test_a_rotation_needs_gains_to_be_folded():
    net, x, symmetry = found("llama")
    state = random_state(net, 7)
    rotated = symmetry.linear.transform({"symbols.weight:1": symmetry.linear.sample(0)["symbols.weight:1"]}, state)
    assert (outputs(net, rotated, x) - outputs(net, state, x)).abs().max() > 0.1


# ----------------------------------------------------------------------------------------------------- kinds of layers


class Power(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).square()


@pytest.mark.parametrize(
    ("activation", "kind", "negative"),
    [
        (nn.ReLU(), "scale", False),
        (nn.LeakyReLU(), "scale", False),
        (Power(nn.ReLU()), "scale", False),
        (Power(nn.Identity()), "scale", True),
        (nn.Tanh(), "signed", False),
        (nn.Identity(), "invertible", False),
        (nn.GELU(), "permutation", False),
        (nn.Sigmoid(), "permutation", False),
    ],
)
def test_the_kind_of_a_hidden_layer_is_that_of_its_activation(activation, kind, negative):
    net = nn.Sequential(nn.Linear(3, 6), activation, nn.Linear(6, 2))
    symmetry = symmetry_of(net, torch.randn(9, 3), general=True)
    assert symmetry.kinds == {"0.weight:0": kind}
    if kind == "scale":
        assert symmetry.linear.maps["0.weight:0"].negative == negative
        form = canonicalise(net.state_dict(), symmetry)
        before, behind = (
            torch.cat([form["0.weight"], form["0.bias"][:, None]], 1).norm(dim=1),
            form["2.weight"].norm(dim=0),
        )
        torch.testing.assert_close(before, behind)
        planted = symmetry.linear.transform(symmetry.linear.sample(0), form)
        moved = TransformerMatching()(planted, form, symmetry).apply(planted)
        assert distance(moved, form) < 1e-5


def test_a_gated_unit_is_scaled_by_any_sign_on_the_side_without_activation():
    _, _, symmetry = found("llama")
    linear = symmetry.linear.maps["blocks.0.mlp.up.weight:0"]
    assert linear.negative
    sides = {place.tensor.split(".")[3]: exponent for place, exponent in linear.places}
    assert sides == {"gate": 0, "up": 1, "down": -1}


def test_numbers_of_a_table_that_scale_vectors_are_no_gains_of_a_norm():
    net, x = Tabular().double().eval(), torch.randn(5, 4, dtype=torch.float64)
    symmetry = symmetry_of(net, x, general=True)
    assert symmetry.kinds["weight:1"] == "orthogonal"
    form = canonicalise(random_state(net, 1), symmetry)
    moved = symmetry.linear.transform(symmetry.linear.sample(0), form)
    torch.testing.assert_close(outputs(net, moved, x), outputs(net, random_state(net, 1), x), rtol=0, atol=1e-9)


def test_units_of_convolutions_are_scaled_as_those_of_layers():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    x = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    net = net.double()
    symmetry = symmetry_of(net, x, general=True)
    assert symmetry.kinds == {"0.weight:0": "scale"}
    moved = symmetry.linear.transform(symmetry.linear.sample(0), net.state_dict())
    torch.testing.assert_close(outputs(net, moved, x), net(x).detach())


def test_what_the_example_does_not_show_is_not_taken_for_a_symmetry():
    net = Decoder(RMSNorm, "swiglu", bias=False)
    symmetry = symmetry_of(net, torch.tensor([[1], [2], [3]]), general=True)  # attention of one symbol sees itself only
    assert symmetry.kinds["blocks.0.attention.q.weight:0#2"] == "permutation"
    assert any("the example shows no effect of 'blocks.0.attention.q.weight'" in note for note in symmetry.notes)


def test_a_module_without_gradients_has_permutations_and_says_so():
    class Blocked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        @torch.no_grad()
        def forward(self, x):
            return self.b(self.a(x).relu())

    symmetry = symmetry_of(Blocked(), torch.randn(3, 3), general=True)
    assert symmetry.kinds == {"a.weight:0": "permutation"}
    assert any("no gradients" in note for note in symmetry.notes)


def test_a_module_of_single_precision_has_permutations_and_says_so():
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(self.a(x).relu().float().to(x.dtype))

    symmetry = symmetry_of(Narrow(), torch.randn(3, 3), general=True)
    assert symmetry.kinds == {"a.weight:0": "permutation"}
    assert any("double precision" in note for note in symmetry.notes)


def test_without_asking_nothing_beyond_permutations_is_looked_for():
    net, x = make("gpt")
    symmetry = symmetry_of(net, x)
    assert symmetry.linear is None
    assert {*symmetry.kinds.values()} == {"permutation"}
    with pytest.raises(ValueError, match="general=True"):
        canonicalise(net.state_dict(), symmetry)


def test_single_precision_is_kept():
    net, x, symmetry = found("vision")
    state = {k: v.float() for k, v in random_state(net, 8).items()}
    form = canonicalise(state, symmetry)
    assert {t.dtype for t in form.values()} == {torch.float32}
    narrow = make("vision")[0].float()
    torch.testing.assert_close(
        outputs(narrow, form, x.float()), outputs(narrow, state, x.float()), atol=1e-4, rtol=1e-4
    )


# -------------------------------------------------------------------------------------------------------- null vectors


def test_exponents_are_the_null_vectors_of_small_integers():
    a, b, c = np.random.default_rng(0).normal(size=(3, 20))
    matrix = np.stack([a, a + b, b, b * 0, c], 1)  # columns 0 + 2 - 1 = 0; column 3 has no effect
    assert [(k, v.tolist()) for k, v in exponents(matrix)] == [(0, [1, -1, 1, 0, 0])]
    assert [(k, v.tolist()) for k, v in exponents(matrix, [1])] == [(1, [-1, 1, -1, 0, 0])]
    assert exponents(np.random.default_rng(1).normal(size=(20, 3))) == []
    assert exponents(np.zeros((4, 2))) == []
