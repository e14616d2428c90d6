"""The nine exact symmetries of transformers: each by hand on a network, and what the library does of it."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import Decoder, RMSNorm, make, outputs, random_state

from skfusion.symmetry import canonicalise
from skfusion.symmetry._folds import balance
from skfusion.tracing import symmetry_of

D = 8


def rotation(n, seed=0):
    """Return a random orthogonal matrix."""
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).Q


def equal(net, x, a, b):
    """Return whether two states compute the same, to 1e-10."""
    return float((outputs(net, a, x) - outputs(net, b, x)).abs().max()) < 1e-10


def folded(state):
    """Fold gains and offsets of LayerNorm by hand, where the layers that read them have biases."""
    out = dict(state)
    for i in (0, 1):
        readers = {f"norm_1.{i}": [f"attention.{r}" for r in "qkv"], f"norm_2.{i}": ["mlp.up"]}
        for norm, names in readers.items():
            norm = f"blocks.{i}.{norm[:6]}"
            for name in (f"blocks.{i}.{n}" for n in names):
                out[f"{name}.bias"] = out[f"{name}.bias"] + state[f"{name}.weight"] @ state[f"{norm}.bias"]
                out[f"{name}.weight"] = state[f"{name}.weight"] * state[f"{norm}.weight"]
            out[f"{norm}.weight"] = torch.ones_like(state[f"{norm}.weight"])
            out[f"{norm}.bias"] = torch.zeros_like(state[f"{norm}.bias"])
    return out


def test_1_gains_and_offsets_fold_into_the_layers_that_read_them():
    net, x = make("gpt")
    state = random_state(net, 1)
    by_hand = folded(state)
    assert equal(net, x, state, by_hand)
    symmetry = symmetry_of(net, x, general=True)
    one, other = canonicalise(state, symmetry), canonicalise(by_hand, symmetry)
    assert all(torch.allclose(one[k], other[k], atol=1e-10) for k in one)


def test_2_between_canonical_states_layer_norm_is_rms_norm():
    net, x = make("gpt")
    state = random_state(net, 2)
    state["norm.bias"] = torch.zeros(D, dtype=torch.float64)  # its head has no bias that could take an offset
    form = canonicalise(state, symmetry_of(net, x, general=True))
    rms = Decoder(lambda n: RMSNorm(n, 1e-5)).double()
    weights = {k: form[k] for k in rms.state_dict()}
    torch.testing.assert_close(outputs(rms, weights, x), outputs(net, state, x), atol=1e-10, rtol=0)
    assert (outputs(rms, {k: state[k] for k in weights}, x) - outputs(net, state, x)).abs().max() > 0.1


def test_3_the_stream_rotates_once_gains_are_folded_and_only_signed_orders_move_them_along():
    net, x = make("llama")
    state = random_state(net, 3)
    writers = ("symbols", "places", "attention.o", "mlp.down")

    def turned(state, r):
        out = {}
        for k, w in state.items():
            written = any(name in k for name in writers)
            embedded = "symbols" in k or "places" in k
            out[k] = w @ r if embedded else r.T @ w if written else w @ r if w.dim() == 2 else w
        return out

    ones = {k: torch.ones_like(v) if v.dim() == 1 else v for k, v in state.items()}
    assert equal(net, x, ones, turned(ones, rotation(D)))
    assert not equal(net, x, state, turned(state, rotation(D)))
    order = torch.randperm(D, generator=torch.Generator().manual_seed(1))
    signs = torch.tensor([1.0, -1.0] * (D // 2), dtype=torch.float64)
    signed = turned(state, torch.eye(D, dtype=torch.float64)[:, order] * signs)
    signed = {k: v[order] if v.dim() == 1 else v for k, v in signed.items()}
    assert equal(net, x, state, signed)


def test_3_without_epsilon_the_stream_has_a_scale_too():
    exact = Decoder(lambda n: RMSNorm(n, eps=0.0), "swiglu", bias=False).double()
    x = make("llama")[1]
    state = random_state(exact, 4)
    writers = ("symbols", "places", "attention.o", "mlp.down")
    scaled = {k: 3 * v if any(name in k for name in writers) else v for k, v in state.items()}
    assert equal(exact, x, state, scaled)
    assert not equal(make("llama")[0], x, state, scaled)


def test_4_queries_and_keys_take_a_matrix_and_its_inverse_and_under_rotary_positions_a_spiral():
    net, x = make("gpt")
    state = random_state(net, 5)
    a = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 2 * torch.eye(4)
    moved = dict(state)
    for part, m in (("q", a), ("k", torch.linalg.inv(a).T)):
        for k in (f"blocks.0.attention.{part}.weight", f"blocks.0.attention.{part}.bias"):
            moved[k] = torch.cat([m @ state[k][:4], state[k][4:]])  # of the first head
    assert equal(net, x, state, moved)
    rotary, x = make("llama with rotary positions")
    state = random_state(rotary, 6)
    free, spiral = dict(state), dict(state)
    r, phi = torch.tensor([2.0, 0.5, 1.5, 0.7]).double(), torch.tensor([0.3, -1.0, 2.0, 0.1]).double()
    turn = torch.cat(
        [torch.cat([phi.cos().diag(), -phi.sin().diag()], 1), torch.cat([phi.sin().diag(), phi.cos().diag()], 1)]
    )
    for part, size in (("q", r), ("k", 1 / r)):
        k = f"blocks.0.attention.{part}.weight"
        spiral[k] = torch.cat([torch.diag(size.repeat(2)) @ turn @ state[k][:8], state[k][8:]])
        free[k] = torch.cat([rotation(8, 1) @ state[k][:8], state[k][8:]])
    assert equal(rotary, x, state, spiral)
    assert not equal(rotary, x, state, free)


def test_4_keys_that_several_heads_share_have_one_matrix():
    net, x = make("llama with grouped keys")
    symmetry = symmetry_of(net, x, general=True)
    shared = {g: maps for g, maps in symmetry.linear.sample(0).items() if "attention.q" in g}
    assert {maps.shape for maps in shared.values()} == {(2, 4, 4)}  # two heads of keys for four of queries
    form = canonicalise(random_state(net, 7), symmetry)
    assert equal(net, x, form, symmetry.linear.transform(shared, form))


def test_5_and_6_values_and_outputs_take_a_matrix_and_heads_an_order():
    net, x = make("gpt")
    state = random_state(net, 8)
    b = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 2 * torch.eye(4)
    moved, v, o = dict(state), "blocks.1.attention.v", "blocks.1.attention.o.weight"
    for k in (f"{v}.weight", f"{v}.bias"):
        moved[k] = torch.cat([b @ state[k][:4], state[k][4:]])
    moved[o] = torch.cat([state[o][:, :4] @ torch.linalg.inv(b), state[o][:, 4:]], 1)
    assert equal(net, x, state, moved)
    swapped = dict(moved)
    for part in "qkv":
        for k in (f"blocks.1.attention.{part}.weight", f"blocks.1.attention.{part}.bias"):
            swapped[k] = moved[k].roll(4, 0)
    swapped[o] = moved[o].roll(4, 1)
    assert equal(net, x, state, swapped)


def test_7_the_bias_of_keys_cancels_and_that_of_values_passes_to_the_output():
    net, x = make("gpt")
    state = random_state(net, 9)
    moved, at = dict(state), "blocks.0.attention"
    moved[f"{at}.k.bias"] = torch.zeros(D, dtype=torch.float64)
    moved[f"{at}.o.bias"] = state[f"{at}.o.bias"] + state[f"{at}.o.weight"] @ state[f"{at}.v.bias"]
    moved[f"{at}.v.bias"] = torch.zeros(D, dtype=torch.float64)
    assert equal(net, x, state, moved)
    queries = moved | {f"{at}.q.bias": torch.zeros(D, dtype=torch.float64)}
    assert not equal(net, x, state, queries)


@pytest.mark.parametrize(("name", "scale"), [("llama", -2.0), ("gpt with relu", 2.0)])
def test_8_hidden_units_are_scaled_where_the_activation_lets_it(name, scale):
    net, x = make(name)
    state = random_state(net, 10)

    def scaled(state, c):
        out = dict(state)
        out["blocks.0.mlp.up.weight"] = c * state["blocks.0.mlp.up.weight"]
        out["blocks.0.mlp.down.weight"] = state["blocks.0.mlp.down.weight"] / c
        if "blocks.0.mlp.up.bias" in state:
            out["blocks.0.mlp.up.bias"] = c * state["blocks.0.mlp.up.bias"]
        return out

    assert equal(net, x, state, scaled(state, scale))
    if name == "gpt with relu":
        assert not equal(net, x, state, scaled(state, -scale))
        smooth, _ = make("gpt")
        assert not equal(smooth, x, state, scaled(state, scale))


def test_9_a_unit_is_copied_and_its_outgoing_weights_are_split():
    net, x = make("gpt")
    state = random_state(net, 11)
    wide = dict(state)
    up, down = "blocks.0.mlp.up", "blocks.0.mlp.down.weight"
    for k in (f"{up}.weight", f"{up}.bias"):
        wide[k] = torch.cat([state[k], state[k][2:3]])
    wide[down] = torch.cat([state[down], 0.7 * state[down][:, 2:3]], 1)
    wide[down][:, 2] *= 0.3
    wider, _ = make("gpt")
    wider.blocks[0].mlp.up, wider.blocks[0].mlp.down = nn.Linear(D, 13), nn.Linear(13, D)
    torch.testing.assert_close(outputs(wider, wide, x), outputs(net, state, x), atol=1e-10, rtol=0)


def test_9_a_stream_is_widened_by_orthonormal_rows():
    n, m = D, 12
    net = Decoder(lambda k: RMSNorm(k, 1e-3), "swiglu", bias=False).double()
    wider = Decoder(lambda k: RMSNorm(k, 1e-3 * n / m), "swiglu", bias=False).double()
    x = make("llama")[1]
    state = {k: torch.ones_like(v) if v.dim() == 1 else v for k, v in random_state(net, 12).items()}
    o = rotation(m)[:n]
    for k, w in state.items():
        if w.dim() == 1:
            new = torch.ones(m, dtype=torch.float64)
        elif "symbols" in k or "places" in k:
            new = w @ o
        elif "attention.o" in k or "mlp.down" in k:
            new = o.T @ w
        else:
            new = w @ o * np.sqrt(n / m)
        owner, _, last = k.rpartition(".")
        setattr(wider.get_submodule(owner), last, nn.Parameter(new))
    with torch.no_grad():
        torch.testing.assert_close(wider(x), outputs(net, state, x), atol=1e-10, rtol=0)


# ------------------------------------------------------------------------------------------------------------- balance


def test_balanced_factors_have_equal_gram_matrices_and_singular_ones_are_left():
    rng = np.random.default_rng(0)
    left, right = (torch.from_numpy(rng.normal(size=(1, 3, 7))) for _ in range(2))
    a = balance(left @ left.mT, right @ right.mT)
    new_left, new_right = a @ left, torch.linalg.inv(a) @ right
    torch.testing.assert_close(new_left @ new_left.mT, new_right @ new_right.mT)
    torch.testing.assert_close(new_left.mT @ new_right, left.mT @ right)
    singular = left.clone()
    singular[0, 2] = singular[0, 1]
    eye = torch.eye(3, dtype=torch.float64)[None]
    assert torch.equal(balance(singular @ singular.mT, right @ right.mT), eye)
