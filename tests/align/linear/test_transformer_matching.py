"""Transformer matching: planted elements of the whole group, function preserved, and what both members are moved to."""

import pickle
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from transformers import MAKES, make, outputs, random_state

from skfusion import rebasin
from skfusion.align import LinearAlignment, TransformerMatching, WeightMatching
from skfusion.align.linear._linear_match import _polar, _solved
from skfusion.state import distance, weighted_sum
from skfusion.symmetry import LinearKind, Place, canonicalise
from skfusion.tracing import symmetry_of


@cache
def found(name):
    """Return a network, its inputs and its symmetry."""
    net, x = make(name)
    return net, x, symmetry_of(net, x, general=True)


def planted(symmetry, state, seed):
    """Return a state moved by a random element of the whole group: permutations, then maps."""
    return symmetry.linear.transform(symmetry.linear.sample(seed), symmetry.permute(symmetry.sample(seed), state))


@pytest.mark.parametrize("name", MAKES)
def test_a_planted_element_is_recovered(name):
    net, _, symmetry = found(name)
    a = canonicalise(random_state(net, 1), symmetry)
    for seed in range(3):
        b = planted(symmetry, a, seed)
        assert distance(b, a) > 10
        assert distance(TransformerMatching()(b, a, symmetry).apply(b), a) < 1e-10


@pytest.mark.parametrize("name", ["gpt", "llama", "vision"])
def test_states_that_are_not_canonical_meet_in_the_canonical_form_of_the_reference(name):
    net, _, symmetry = found(name)
    a = random_state(net, 2)
    b = symmetry.permute(symmetry.sample(0), a)
    assert distance(a, canonicalise(a, symmetry)) > 1
    assert distance(TransformerMatching()(b, a, symmetry).apply(b), canonicalise(a, symmetry)) < 1e-10


@pytest.mark.parametrize("name", MAKES)
def test_the_function_is_kept_and_unrelated_states_come_nearer_than_by_permutations(name):
    net, x, symmetry = found(name)
    a, b = (random_state(net, seed) for seed in (3, 4))
    first, second = TransformerMatching().align_all([a, b], symmetry)
    new_a, new_b = first.apply(a), second.apply(b)
    for state, new in ((a, new_a), (b, new_b)):
        torch.testing.assert_close(outputs(net, new, x), outputs(net, state, x), rtol=0, atol=1e-9)
    forms = [canonicalise(s, symmetry) for s in (a, b)]
    assert distance(new_a, forms[0]) == 0
    permuted = WeightMatching()(forms[1], forms[0], symmetry).apply(forms[1])
    assert distance(new_b, new_a) < distance(permuted, forms[0]) < distance(*forms)
    assert {k: v.shape for k, v in weighted_sum([new_a, new_b], [0.5, 0.5]).items()} == {
        k: v.shape for k, v in a.items()
    }


def test_the_history_rises_and_is_the_inner_product_that_is_maximised():
    net, _, symmetry = found("vision")
    a, b = (canonicalise(random_state(net, seed), symmetry) for seed in (5, 6))
    alignment = TransformerMatching()(b, a, symmetry)
    moved = alignment.apply(b)
    product = sum(float((a[name] * moved[name]).sum()) for name in symmetry.parameters)
    assert alignment.history[-1] == pytest.approx(product)
    assert (np.diff(alignment.history[1:]) >= -1e-9 * product).all()


def test_the_mean_of_two_gauges_of_a_head_is_another_function_and_the_aligned_mean_is_not():
    net, x, symmetry = found("gpt")
    a = canonicalise(random_state(net, 7), symmetry)
    gauges = {g: m for g, m in symmetry.linear.sample(1).items() if symmetry.kinds[g] == "invertible"}
    b = symmetry.linear.transform(gauges, a)
    expected = outputs(net, a, x)
    naive = outputs(net, weighted_sum([a, b], [0.5, 0.5]), x)
    assert (naive - expected).norm() > 0.1 * expected.norm()
    aligned = TransformerMatching()(b, a, symmetry).apply(b)
    torch.testing.assert_close(outputs(net, weighted_sum([a, aligned], [0.5, 0.5]), x), expected, atol=1e-9, rtol=0)


def test_a_noisy_copy_in_another_frame_comes_back_to_its_noise():
    net, _, symmetry = found("llama")
    a = canonicalise(random_state(net, 8), symmetry)
    generator = torch.Generator().manual_seed(0)
    noisy = {k: v + 0.02 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in a.items()}
    form = canonicalise(noisy, symmetry)
    aligned = TransformerMatching()(planted(symmetry, form, 3), a, symmetry)
    assert distance(aligned.apply(planted(symmetry, form, 3)), a) <= distance(form, a) * (1 + 1e-6)


def test_a_member_of_single_precision_is_moved_as_exactly_as_it_holds_numbers():
    net, x, symmetry = found("vision")
    a, b = ({k: v.float() for k, v in random_state(net, seed).items()} for seed in (9, 10))
    moved = TransformerMatching()(b, a, symmetry).apply(b)
    assert {t.dtype for t in moved.values()} == {torch.float32}
    narrow = make("vision")[0].float()
    torch.testing.assert_close(outputs(narrow, moved, x.float()), outputs(narrow, b, x.float()), atol=1e-3, rtol=1e-3)


def test_tied_tensors_stay_tied():
    net, _, symmetry = found("llama with tied embeddings")
    a, b = (random_state(net, seed) for seed in (11, 12))
    moved = TransformerMatching()(b, a, symmetry).apply(b)
    assert moved["head.weight"] is moved["symbols.weight"]
    assert b["head.weight"] is b["symbols.weight"]
    assert distance(moved, b) > 1


def test_the_table_and_pickles():
    net, _, symmetry = found("gpt")
    a, b = (random_state(net, seed) for seed in (13, 14))
    alignment = TransformerMatching()(b, a, symmetry)
    table = alignment.describe().set_index("group")
    assert table.kind.to_dict() == symmetry.kinds
    assert (table.turn[table.kind.isin(["orthogonal", "invertible"])] > 0.1).all()
    assert (table.turn[table.kind == "permutation"] == 0).all()
    again = pickle.loads(pickle.dumps(alignment))
    assert distance(again.apply(b), alignment.apply(b)) == 0


# --------------------------------------------------------------------------------------------------------- Procrustes


@pytest.mark.parametrize("keeps_mean", [False, True])
def test_no_random_rotation_beats_that_of_procrustes(keeps_mean):
    rng = np.random.default_rng(0)
    products = torch.from_numpy(rng.normal(size=(1, 5, 5)))
    linear = LinearKind("orthogonal", ((Place("w", 0, np.arange(5).reshape(1, 5, 1)), 1),), keeps_mean=keeps_mean)
    best = _solved(products, linear)
    torch.testing.assert_close(best @ best.mT, torch.eye(5, dtype=torch.float64)[None])
    if keeps_mean:
        torch.testing.assert_close(best.sum(-1), torch.ones(1, 5, dtype=torch.float64))
    value = float((best * products).sum())
    assert all(float((linear.sample(rng) * products).sum()) < value for _ in range(2000))
    nearby = best @ torch.matrix_exp(0.01 * (products - products.mT))
    assert keeps_mean or float((nearby * products).sum()) < value


def test_the_value_of_a_pair_of_heads_depends_on_circuits_alone():
    rng = np.random.default_rng(1)
    q, k, q2, k2 = torch.from_numpy(rng.normal(size=(4, 3, 7)))
    turn = _polar(torch.from_numpy(rng.normal(size=(1, 3, 3))))[0]

    def value(a, b):
        return float(torch.linalg.svdvals(a[0] @ b[0].T + a[1] @ b[1].T).sum())

    assert value((q, k), (turn @ q2, turn @ k2)) == pytest.approx(value((q, k), (q2, k2)))


# ---------------------------------------------------------------------------------------------------------- bad input


def test_a_symmetry_of_permutations_alone_is_refused():
    net, x = make("vision")
    a = random_state(net, 1)
    with pytest.raises(ValueError, match="general=True"):
        TransformerMatching()(a, a, symmetry_of(net, x))
    with pytest.raises(ValueError, match="symmetry"):
        TransformerMatching()(a, a)
    with pytest.raises(ValueError, match="max_sweeps"):
        TransformerMatching(max_sweeps=0)(a, a, found("vision")[2])


def test_rebasin_asks_for_a_canonical_reference():
    net, x, symmetry = found("vision")
    a, b = (random_state(net, seed) for seed in (15, 16))
    with pytest.raises(ValueError, match=r"canonicalise\(state_a, symmetry\)"):
        rebasin(a, b, net, x, TransformerMatching())
    form = canonicalise(a, symmetry)
    moved = rebasin(form, b, net, x, TransformerMatching())
    torch.testing.assert_close(outputs(net, moved, x), outputs(net, b, x), rtol=0, atol=1e-9)
    assert distance(moved, form) < distance(canonicalise(b, symmetry), form)


def test_a_network_without_attention_is_matched_as_by_weights():
    net = nn.Sequential(nn.Linear(3, 7), nn.GELU(), nn.Linear(7, 5), nn.GELU(), nn.Linear(5, 2)).double()
    symmetry = symmetry_of(net, torch.randn(6, 3, dtype=torch.float64), general=True)
    a, b = (random_state(net, seed) for seed in (17, 18))
    alignment = TransformerMatching()(b, a, symmetry)
    assert isinstance(alignment, LinearAlignment)
    assert distance(alignment.apply(b), WeightMatching()(b, a, symmetry).apply(b)) == 0
