"""OTFusion: planted permutations in every architecture, the paper's loop, its limits, and bad input."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from reference.ot_fusion import transported
from sklearn.datasets import load_wine
from torch import nn
from tracing.networks import KNOWN

from skfusion.align import OTFusion, Transport
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import distance, owners
from skfusion.symmetry import Symmetry
from skfusion.testing import _problems as problems
from skfusion.tracing import symmetry_of

NETWORKS = [name for name, case in KNOWN.items() if case[2]]


def random_state(module, seed=0):
    """Random numbers in float64; tied tensors stay tied, and variances positive."""
    generator = torch.Generator().manual_seed(seed)
    named = module.state_dict()
    drawn = {k: torch.randn(t.shape, generator=generator, dtype=torch.float64) for k, t in named.items()}
    drawn |= {k: t.abs() + 0.5 for k, t in drawn.items() if k.endswith("running_var")}
    return {k: drawn[o] if named[k].is_floating_point() else named[k] for k, o in owners([named]).items()}


def perceptron(seed, widths=(3, 6, 5, 2)):
    layers = [nn.Linear(i, o) for i, o in pairwise(widths)]
    net = nn.Sequential(*(m for layer in layers for m in (layer, nn.ReLU())))[:-1]
    return net, random_state(net, seed)


def layers_of(state):
    return [(state[f"{k}.weight"].numpy(), state[f"{k}.bias"].numpy()) for k in (0, 2, 4)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("masses", ["uniform", "importance"])
def test_planted_permutations_are_recovered_in_every_architecture(name, masses):
    make, example, *_ = KNOWN[name]
    torch.manual_seed(0)
    module = make()
    symmetry = symmetry_of(module, example(), verify=False)
    a = random_state(module)
    assert distance(OTFusion(masses=masses)(dict(a), a, symmetry).apply(a), a) == 0
    for seed in range(2):
        b = symmetry.permute(symmetry.sample(seed), a)
        assert distance(OTFusion(masses=masses)(b, a, symmetry).apply(b), a) <= 1e-12


@pytest.mark.parametrize("importance", [False, True])
def test_it_is_the_loop_of_the_paper(importance):
    for seed in range(3):
        (net, a), (_, b) = perceptron(2 * seed), perceptron(2 * seed + 1)
        symmetry = symmetry_of(net, torch.randn(4, 3))
        fused = OTFusion(masses="importance" if importance else "uniform")(b, a, symmetry).apply(b)
        for (w, bias), (w_ref, bias_ref) in zip(
            layers_of(fused), transported(layers_of(b), layers_of(a), importance), strict=True
        ):
            assert np.allclose(w, w_ref, atol=1e-9)
            assert np.allclose(bias, bias_ref, atol=1e-9)


def test_equal_masses_give_permutations_and_others_do_not():
    (net, a), (_, b) = perceptron(0), perceptron(1)
    symmetry = symmetry_of(net, torch.randn(4, 3))
    assert OTFusion()(b, a, symmetry).is_permutation
    important = OTFusion(masses="importance")(b, a, symmetry)
    assert not important.is_permutation
    assert max(important.sum_errors().values()) <= 1e-12


def test_one_hidden_layer_has_the_least_cost_of_all_permutations():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    a, b = random_state(net, 0), random_state(net, 1)
    symmetry = symmetry_of(net, torch.randn(4, 3))
    transport = OTFusion()(b, a, symmetry)
    rows = [np.column_stack([s["0.weight"], s["0.bias"]]) for s in (a, b)]
    cost = np.linalg.norm(rows[0][:, None] - rows[1], axis=-1)
    least = min(cost[range(5), p].mean() for p in permutations(range(5)))
    assert transport.matched["0.weight:0"] == pytest.approx(least)


def test_little_entropy_is_the_exact_plan_and_much_of_it_the_mean_of_all_units():
    (net, a), (_, b) = perceptron(0), perceptron(1)
    symmetry = symmetry_of(net, torch.randn(4, 3))
    exact = OTFusion()(b, a, symmetry).apply(b)
    soft = OTFusion(reg=1e-3, max_iter=100_000)(b, a, symmetry)
    assert distance(soft.apply(b), exact) <= 1e-3
    even = OTFusion(reg=1e5)(b, a, symmetry)
    assert all(np.allclose(m.out, 1 / m.out.shape[0], atol=1e-4) for m in even.values())


def test_the_outputs_stay_where_they_are():
    (net, a), (_, b) = perceptron(0), perceptron(1)
    swapped = a | {"4.weight": a["4.weight"].flip(0), "4.bias": a["4.bias"].flip(0)}
    symmetry = symmetry_of(net, torch.randn(4, 3))
    fused = OTFusion()(swapped, a, symmetry).apply(swapped)
    assert torch.equal(fused["4.bias"], swapped["4.bias"])
    assert all(torch.equal(fused[k], a[k]) for k in ("0.weight", "2.weight"))
    assert "4.weight:0" not in OTFusion()(b, a, symmetry)


def test_activations_of_a_permuted_copy_are_matched_whatever_the_weights_are_scaled_by():
    """Units whose weights differ and whose activations are alike: a scale that the next layer takes back."""
    net, a = perceptron(0)
    symmetry = symmetry_of(net, torch.randn(4, 3))
    x = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    data = ModuleObjective(net.double(), lambda: [Batch(x[:50], x[:50]), Batch(x[50:], x[50:])])
    b = symmetry.permute(symmetry.sample(0), a)
    for where in ("pre", "post"):
        found = OTFusion(cost="activations", where=where)(b, a, symmetry, data)
        assert distance(found.apply(b), a) == 0
    # the costs are distances over the data
    other = perceptron(1)[1]
    found = OTFusion(cost="activations")(other, a, symmetry, data)
    first = [nn.functional.linear(x, s["0.weight"], s["0.bias"]) for s in (a, other)]
    cost = torch.cdist(first[0].T, first[1].T).numpy() / np.sqrt(len(x))
    place = found.permutations()["0.weight:0"]
    assert found.matched["0.weight:0"] == pytest.approx(cost[range(6), place].mean())


def test_residual_streams_have_one_plan():
    make, example, *_ = KNOWN["residual"]
    module = make()
    symmetry = symmetry_of(module, example())
    a, b = random_state(module, 0), random_state(module, 1)
    transport = OTFusion()(b, a, symmetry)
    assert transport.keys() == symmetry.groups.keys()
    stream = next(g for g in symmetry.groups if g.startswith("stem"))
    # it was found by all that makes the stream, the later layers included
    makers = ["stem.weight", "stem.bias", *(f"b.{k}.{n}" for k in range(3) for n in ("weight", "bias"))]
    makers += [f"norms.{k}.{n}" for k in range(3) for n in ("weight", "bias")]
    partly = dict(transport)
    del partly[stream]
    moved = Transport(partly, symmetry).apply(b)
    rows = [np.column_stack([s[n].reshape(6, -1) for n in makers]) for s in (a, moved)]
    cost = np.linalg.norm(rows[0][:, None] - rows[1], axis=-1)
    assert cost.min(1).mean() - 1e-9 <= transport.matched[stream]
    assert transport.matched[stream] <= cost.mean()


def test_two_trained_networks_have_a_lower_barrier_than_without():
    x, y = load_wine(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)

    def trained(seed):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        return net, {k: v.detach() for k, v in net.state_dict().items()}

    def loss(state):
        return float(nn.functional.cross_entropy(torch.func.functional_call(net, state, (x,)), y).detach())

    gains = []
    for seed in range(3):
        (net, a), (_, b) = trained(2 * seed), trained(2 * seed + 1)
        symmetry = symmetry_of(net, x[:4])
        data = ModuleObjective(net, lambda: [Batch(x, y)])
        plain = loss({k: (a[k] + b[k]) / 2 for k in a})
        for align in (OTFusion(), OTFusion(cost="activations"), OTFusion(reg=0.02), OTFusion(masses="importance")):
            moved = align(b, a, symmetry, data).apply(b)
            gains.append(plain - loss({k: (a[k] + moved[k]) / 2 for k in a}))
    assert np.mean(gains) > 0


def test_an_iteration_that_did_not_end_is_reported_with_the_error():
    (a, b, _), symmetry, _ = problems.networks(1)
    with pytest.warns(UserWarning, match=r"did not end for 1 of 1 groups: .*'0.weight:0' are off by \d"):
        found = OTFusion(reg=1e-4, max_iter=20, masses="importance")(b, a, symmetry)
    assert max(found.sum_errors().values()) <= 1e-9


def test_a_state_without_anything_to_tell_units_apart_stays():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    symmetry = symmetry_of(net, torch.randn(2, 3))
    zeros = {k: torch.zeros_like(t) for k, t in net.state_dict().items()}
    for align in (OTFusion(), OTFusion(reg=0.1), OTFusion(masses="importance")):
        assert align(zeros, zeros, symmetry).is_permutation


def test_no_group_is_no_map():
    net = nn.Linear(3, 2)
    state = net.state_dict()
    found = OTFusion()(state, state, symmetry_of(net, torch.randn(2, 3)))
    assert dict(found) == {}
    assert all(torch.equal(found.apply(state)[k], t) for k, t in state.items())


def test_bad_input_is_named():
    (a, b, _), symmetry, data = problems.networks(1)
    for settings, message in (
        ({"cost": "outputs"}, "cost must be 'weights' or 'activations'; got 'outputs'"),
        ({"where": "after"}, "where must be"),
        ({"masses": "some"}, "masses must be"),
        ({"reg": 0.0}, "reg must be above 0"),
        ({"reg": float("nan")}, "reg must be above 0"),
        ({"reg": "a"}, "reg must be above 0"),
        ({"max_iter": 0}, "max_iter is at least 1"),
        ({"tol": 0.0}, "tol above 0"),
        ({"cost": "activations"}, "give an objective"),
    ):
        with pytest.raises(ValueError, match=message):
            OTFusion(**settings)(b, a, symmetry)
    with pytest.raises(ValueError, match="needs to know which units may change places"):
        OTFusion()(b, a)
    declared = Symmetry.of_axes({"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")}, a)
    with pytest.raises(ValueError, match="knows no activations"):
        OTFusion(cost="activations")(b, a, declared, data)
