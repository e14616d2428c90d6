"""OTFusion between networks whose hidden layers have different widths."""

import copy

import numpy as np
import pytest
import torch
from merge.matching.networks import ROWS, data_for, drawn, network, outputs, perceptron, reordered
from merge.matching.test_barycenter import Recurrent, Residual, convolution
from torch import nn

from skfusion.align import OTFusion, Transport
from skfusion.objective import ModuleObjective
from skfusion.symmetry import Symmetry
from skfusion.tracing import symmetry_of
from skfusion.widths import resized


def split(net, widths, seed=0):
    """Return a copy of a network with two copies of each unit, in random order, which share what reads it at random."""
    wide = resized(net, ROWS, widths)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer, reader in ((wide[0], wide[2]), (wide[2], wide[4])):
            n = int(layer.out_features // 2)
            share = torch.rand(n, generator=rng, dtype=torch.float64)
            reader.weight[:, :n] *= 2 * share
            reader.weight[:, n : 2 * n] *= 2 * (1 - share)
    return reordered(wide, seed)


def aligned(net, state_of, reference, **params):
    symmetry = symmetry_of(net, ROWS)
    found = OTFusion(**params)(state_of.state_dict(), reference.state_dict(), symmetry, data_for(net)[0])
    return found, found.apply(state_of.state_dict())


def close(state, reference, of, **tolerance):
    """Check that a state in the widths of a reference computes what a network does."""
    moved = copy.deepcopy(reference)
    moved.load_state_dict(state)
    torch.testing.assert_close(outputs(moved), outputs(of), **tolerance)


COSTS = [{}, {"cost": "activations"}, {"cost": "activations", "where": "post"}]


@pytest.mark.parametrize("params", COSTS, ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_units_that_were_split_come_back_to_the_same_function(seed, params):
    net = perceptron(6, 5, seed=seed)
    wide = split(net, {"0": 12, "2": 10}, seed)
    torch.testing.assert_close(outputs(wide), outputs(net))
    for of in (net, wide):  # the symmetry may be that of either
        _, state = aligned(of, wide, net, **params)
        close(state, net, net)
        torch.testing.assert_close(state, dict(net.state_dict()))
        _, state = aligned(of, net, wide, **params)  # and units become two of half the weight
        close(state, wide, net)


@pytest.mark.parametrize("params", [*COSTS, {"masses": "importance"}, {"reg": 0.05}], ids=repr)
def test_a_network_gets_the_widths_of_its_reference(params):
    a, b = perceptron(6, 5, seed=0), perceptron(8, 3, seed=1)
    found, state = aligned(a, b, a, **params)
    assert {k: t.shape for k, t in state.items()} == {k: t.shape for k, t in a.state_dict().items()}
    assert [m.out.shape for m in found.values()] == [(6, 8), (5, 3)]
    assert max(found.sum_errors().values()) <= 1e-9
    assert not found.is_permutation
    table = found.describe()
    assert table[["size", "new size"]].values.tolist() == [[8, 6], [3, 5]]
    assert (table["similarity"] > 0).all()


@pytest.mark.parametrize("params", [{}, {"masses": "importance"}], ids=repr)
def test_the_order_of_units_does_not_matter(params):
    a, b = perceptron(6, 5, seed=0), perceptron(8, 7, seed=1)
    _, expected = aligned(a, b, a, **params)
    _, state = aligned(a, reordered(b, 3), a, **params)
    torch.testing.assert_close(state, expected)


def test_one_layer_is_the_plan_of_the_units():
    from skfusion._coupling import exact

    a, b = perceptron(4, seed=0), perceptron(6, seed=1)
    found, state = aligned(a, b, a)
    units = [torch.cat([n[0].weight, n[0].bias[:, None]], 1).detach().numpy() for n in (a, b)]
    plan = exact(np.linalg.norm(units[1][:, None] - units[0], axis=-1))
    np.testing.assert_allclose(found["0.weight:0"].out, 4 * plan.T, atol=1e-12)
    np.testing.assert_allclose(found["0.weight:0"].into, 6 * plan, atol=1e-12)
    np.testing.assert_allclose(state["0.weight"], 4 * plan.T @ units[1][:, :3], atol=1e-12)
    np.testing.assert_allclose(state["2.weight"], b[2].weight.detach().numpy() @ (6 * plan), atol=1e-12)


@pytest.mark.parametrize(("kind", "sizes"), [(Residual, (9, 5)), (Recurrent, (9,)), (convolution, (8, 5))])
@pytest.mark.parametrize("params", [{}, {"masses": "importance"}, {"cost": "activations"}], ids=repr)
def test_residual_recurrent_and_convolutional_networks(kind, sizes, params):
    net, wide = drawn(kind().double(), 0), drawn(kind(*sizes).double(), 1)
    for a, b in ((net, wide), (wide, net)):
        _, state = aligned(net, b, a, **params)
        assert {k: t.shape for k, t in state.items()} == {k: t.shape for k, t in a.state_dict().items()}
        assert outputs(network(state, a)).isfinite().all()


@pytest.mark.parametrize("kind", [Residual, convolution])
def test_an_exactly_wider_copy_comes_back_in_other_architectures(kind):
    net = drawn(kind().double(), 0)
    doubled = {g: 2 * group.size for g, group in symmetry_of(net, ROWS).groups.items()}
    wide = reordered(resized(net, ROWS, doubled), 4)
    _, state = aligned(net, wide, net)
    torch.testing.assert_close(state, dict(net.state_dict()))


def test_many_networks_of_different_widths_get_those_of_the_first():
    nets = [perceptron(6, seed=0), perceptron(8, seed=1), perceptron(5, seed=2)]
    states = [n.state_dict() for n in nets]
    for of in (nets[0], nets[1]):
        found = OTFusion().align_all(states, symmetry_of(of, ROWS))
        moved = [alignment.apply(state) for alignment, state in zip(found, states, strict=True)]
        assert all(state["0.weight"].shape == (6, 3) for state in moved)
        assert torch.equal(moved[0]["0.weight"], states[0]["0.weight"])


def test_what_is_applied_to_a_wide_state_does_not_take_a_narrow_one():
    a, b = perceptron(6, seed=0), perceptron(8, seed=1)
    found, _ = aligned(a, b, a)
    assert isinstance(found, Transport)
    with pytest.raises(ValueError, match="0.weight"):
        found.apply(a.state_dict())


class Stream(nn.Module):
    """A residual stream of one width, which layers read and write."""

    def __init__(self, n=4):
        super().__init__()
        self.into, self.block, self.out = nn.Linear(3, n), nn.Linear(n, n), nn.Linear(n, 2)

    def forward(self, x):
        h = self.into(x)
        return self.out(h + torch.tanh(self.block(h)))


class Tied(nn.Module):
    """Tokens are read by the weights that make them."""

    def __init__(self, n=4):
        super().__init__()
        self.tokens, self.up = nn.Embedding(5, n), nn.Linear(n, n)

    def forward(self, x):
        return nn.functional.linear(self.tokens(x) + torch.tanh(self.up(self.tokens(x))), self.tokens.weight)


def attention(width):
    layer = nn.TransformerEncoderLayer(width, 2, 8, batch_first=True, dropout=0.0)
    net = nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Linear(1, width), layer, nn.Flatten(), nn.Linear(3 * width, 2))
    return drawn(net.double(), 0)


def test_widths_that_cannot_be_are_refused_by_the_names_of_tensors():
    a, b = (drawn(Stream(n).double(), 0) for n in (4, 6))
    state = {**b.state_dict(), "block.weight": torch.zeros(5, 6), "block.bias": torch.zeros(5)}
    symmetry = symmetry_of(a, ROWS)
    with pytest.raises(ValueError, match=r"Tensor 'block.\w+' has shape \(5.* in the state, where .*\(6"):
        OTFusion()(state, a.state_dict(), symmetry)
    with pytest.raises(ValueError, match=r"Tensor 'block.\w+' has shape \(5.* in the reference"):
        OTFusion()(a.state_dict(), state, symmetry)
    with pytest.raises(ValueError, match="Tensor '2.self_attn.in_proj_weight' has shape"):
        OTFusion()(attention(8).state_dict(), attention(4).state_dict(), symmetry_of(attention(4), ROWS))
    a, b = Tied(4), Tied(6)
    with pytest.raises(ValueError, match="has 6 units in the state and 4 in the reference.*'tokens.weight' both makes"):
        OTFusion()(b.state_dict(), a.state_dict(), symmetry_of(a, torch.tensor([[0, 1], [2, 3]])))
    a, b = perceptron(4, 4), perceptron(5, 4, n_out=3)
    with pytest.raises(ValueError, match=r"Tensor '4.\w+' has shape"):
        OTFusion()(b.state_dict(), a.state_dict(), symmetry_of(a, ROWS))
    symmetry = Symmetry.of_axes({"0.weight": ("h", None), "0.bias": ("h",)}, a.state_dict())  # not of what reads
    with pytest.raises(ValueError, match=r"Tensor '2.weight' has shape"):
        OTFusion()(perceptron(5, 4).state_dict(), a.state_dict(), symmetry)


def test_a_module_that_cannot_be_resized_is_named_where_its_activations_are_needed():
    class Fixed(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.a, self.own, self.out = nn.Linear(3, n), nn.Parameter(torch.zeros(1, n)), nn.Linear(n, 2)

        def forward(self, x):
            return self.out(torch.relu(self.a(x) + self.own))

    a, b = (drawn(Fixed(n).double(), n) for n in (4, 6))
    assert aligned(a, b, a)[1]["a.weight"].shape == (4, 3)
    with pytest.raises(ValueError, match="Fixed itself holds units"):
        aligned(a, b, a, cost="activations")
    with pytest.raises(ValueError, match="the objective has none|has seen no batch"):
        OTFusion(cost="activations")(b.state_dict(), a.state_dict(), symmetry_of(a, ROWS), ModuleObjective(a, list))
