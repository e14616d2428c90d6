"""Barycenters of the units of networks of any widths."""

import copy

import numpy as np
import pytest
import torch
from merge.matching.networks import ROWS, data_for, drawn, network, outputs, perceptron, reordered
from scipy.optimize import linear_sum_assignment
from torch import nn

from skfusion.merge import Barycenter, ZipIt
from skfusion.merge.matching._barycenter import barycenter
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import Fused
from skfusion.widths import resized


def fused(nets, **params):
    data, reported = data_for(nets[0])
    return network(Barycenter(**params)([n.state_dict() for n in nets], None, data), nets[0]), reported


def close(a, b, **tolerance):
    torch.testing.assert_close(outputs(a), outputs(b), **tolerance)


def test_one_network_and_copies_in_any_order_of_units_give_that_network():
    net = perceptron(6, 5)
    for nets in ([net], [net, net], [net, reordered(net, 1), reordered(net, 2)]):
        merged, _ = fused(nets)
        close(merged, net)
        torch.testing.assert_close(merged.state_dict(), net.state_dict())


def test_two_networks_of_one_width_meet_half_way_under_the_best_assignment():
    a, b = perceptron(6, seed=0), perceptron(6, seed=1)
    units_a, units_b = (torch.cat([n[0].weight, n[0].bias[:, None]], 1).detach() for n in (a, b))
    _, best = linear_sum_assignment(torch.cdist(units_a, units_b).square().numpy())
    expected = copy.deepcopy(a)
    with torch.no_grad():
        for name, moved in (("weight", b[0].weight[best]), ("bias", b[0].bias[best])):
            getattr(expected[0], name).copy_((getattr(a[0], name) + moved) / 2)
        expected[2].weight.copy_((a[2].weight + b[2].weight[:, best]) / 2)
        expected[2].bias.copy_((a[2].bias + b[2].bias) / 2)
    merged, _ = fused([a, b])
    torch.testing.assert_close(merged.state_dict(), expected.state_dict())


@pytest.mark.parametrize("width", [None, 5, 9])
def test_the_order_of_units_of_a_member_does_not_matter(width):
    nets = [perceptron(6, 4, seed=0), perceptron(8, 7, seed=1), perceptron(6, 4, seed=2)]
    expected, _ = fused(nets, width=width)
    for k in range(3):
        moved = [reordered(n, 5) if i == k else n for i, n in enumerate(nets)]
        close(fused(moved, width=width)[0], expected)


def test_members_are_exchangeable_where_they_start_from_the_same_width():
    nets = [perceptron(6, seed=0), perceptron(8, seed=1), perceptron(8, seed=2)]
    a, b = (fused([nets[i] for i in order], width=6)[0] for order in ([0, 1, 2], [0, 2, 1]))
    close(a, b)


def test_a_widened_copy_comes_back_to_the_network_it_is_of():
    """Each unit of the wide network is half of a unit of the narrow one, and is read half as much."""
    net = perceptron(6, 5)
    wide = resized(net, ROWS, {"0": 12, "2": 15})
    close(wide, net)
    for nets, width in (([net, wide], None), ([wide, net], {"0": 6, "2": 5}), ([net, wide], {"0": 12, "2": 15})):
        close(fused(nets, width=width)[0], net)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (7, 4), (5, 9)])
def test_the_cost_never_rises(n, m):
    rng = np.random.RandomState(n)
    points = [rng.normal(size=(n, 3)), rng.normal(size=(8, 3)) + 1, rng.normal(size=(m, 3))]
    plans, costs = barycenter(points, rng.normal(size=(m, 3)), [0.5, 0.3, 0.2], 50)
    assert len(costs) > 1
    assert (np.diff(costs) <= 1e-12).all()
    for plan, x in zip(plans, points, strict=True):
        np.testing.assert_allclose(plan.sum(1), 1 / m)
        np.testing.assert_allclose(plan.sum(0), 1 / len(x))


def test_a_cost_is_that_of_the_plans_and_of_the_layer_that_is_returned():
    nets = [perceptron(6, seed=0), perceptron(8, seed=1)]
    merged, reported = fused(nets, width=5, weights=[3, 1])
    units = [torch.cat([n[0].weight, n[0].bias[:, None]], 1).detach().numpy() for n in (*nets, merged)]
    from skfusion._coupling import exact

    costs = [((units[2][:, None] - x) ** 2).sum(-1) for x in units[:2]]
    expected = sum(w * (exact(c) * c).sum() for w, c in zip([0.75, 0.25], costs, strict=True))
    found = reported["transport_costs"]["0.weight:0"][-1]
    assert expected <= found + 1e-12
    assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("width", [4, 11])
def test_all_units_as_one_point_are_their_mean(width):
    """Of networks whose units are all equal, those of the barycenter are the weighted mean."""
    nets = [perceptron(n, seed=n) for n in (6, 8)]
    for net in nets:
        with torch.no_grad():
            net[0].weight.copy_(net[0].weight[:1].expand_as(net[0].weight))
            net[0].bias.copy_(net[0].bias[:1].expand_as(net[0].bias))
    merged, _ = fused(nets, width=width, weights=[0.25, 0.75])
    expected = 0.25 * nets[0][0].weight[0] + 0.75 * nets[1][0].weight[0]
    torch.testing.assert_close(merged[0].weight, expected.expand(width, 3))
    total = 0.25 * nets[0][2].weight.sum(1) + 0.75 * nets[1][2].weight.sum(1)  # what is read of all units
    torch.testing.assert_close(merged[2].weight.sum(1), total)


class Residual(nn.Module):
    def __init__(self, n=6, m=4):
        super().__init__()
        self.into, self.norm, self.down, self.up = nn.Linear(3, n), nn.LayerNorm(n), nn.Linear(n, m), nn.Linear(m, n)
        self.out = nn.Linear(n, 2)

    def forward(self, x):
        h = self.into(x)
        return self.out(self.norm(h + self.up(torch.tanh(self.down(h)))))


class Recurrent(nn.Module):
    def __init__(self, n=6):
        super().__init__()
        self.cells, self.out = nn.LSTM(3, n, batch_first=True), nn.Linear(n, 2)

    def forward(self, x):
        steps = torch.stack([x, x.roll(1, 1), x.square()], 1)
        return self.out(self.cells(steps)[0][:, -1])


def convolution(n=4, m=6):
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)),
        nn.Conv1d(1, n, 2),
        nn.BatchNorm1d(n),
        nn.ReLU(),
        nn.Conv1d(n, n, 1, groups=n),
        nn.Conv1d(n, m, 1),
        nn.Flatten(),
        nn.Linear(2 * m, 2),
    )


KINDS = [(Residual, (9, 5)), (Recurrent, (9,)), (convolution, (8, 5))]


@pytest.mark.parametrize(("kind", "sizes"), KINDS)
def test_residual_recurrent_and_convolutional_networks(kind, sizes):
    net, wide = drawn(kind().double(), 0), drawn(kind(*sizes).double(), 1)
    moved = reordered(net, 3)
    close(fused([net, moved])[0], net)
    data, reported = data_for(net)
    result = Barycenter(width={})([net.state_dict(), wide.state_dict()], None, data)
    assert not isinstance(result, Fused)
    assert reported["left_out"] == {}
    into = network(Barycenter()([wide.state_dict(), net.state_dict()], None, data), net)
    assert [p.shape for p in into.parameters()] == [p.shape for p in wide.parameters()]
    assert outputs(into).isfinite().all()


@pytest.mark.parametrize("merge", [Barycenter(), Barycenter(width=6), ZipIt()])
def test_what_one_layer_makes_beside_its_units_is_averaged(merge):
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.out = nn.Linear(3, 8), nn.Linear(6, 2)

        def forward(self, x):
            gate, y = self.up(x).split((2, 6), 1)
            return self.out(torch.relu(y)) + gate

    nets = [drawn(Split().double(), seed) for seed in (0, 1)]
    data, _ = data_for(nets[0])
    merged = network(merge([n.state_dict() for n in nets], None, data), nets[0])
    torch.testing.assert_close(merged.up.weight[:2], (nets[0].up.weight + nets[1].up.weight)[:2] / 2)
    copies = network(merge([nets[0].state_dict()] * 2, None, data), nets[0])
    close(copies, nets[0])


@pytest.mark.parametrize("merge", [Barycenter(), ZipIt()])
def test_heads_of_attention_are_averaged_in_their_order_and_named(merge):
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
    net = nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Linear(1, 4), layer, nn.Flatten(), nn.Linear(12, 2))
    net = drawn(net.double(), 0)
    data, reported = data_for(net)
    merged = network(merge([net.state_dict()] * 2, None, data), net)
    close(merged, net)
    assert reported["left_out"]
    assert all("nested" in why for why in reported["left_out"].values())
    assert reported["left_out"]


def test_integers_and_precisions_are_those_of_the_first():
    nets = [drawn(convolution(4).float(), 0), drawn(convolution(7).bfloat16(), 1)]
    nets[1][2].num_batches_tracked += 3
    x = ROWS.float()
    data = ModuleObjective(nets[0], lambda: [Batch(x, x)])
    state = Barycenter()([n.state_dict() for n in nets], None, data)
    assert int(state["2.num_batches_tracked"]) == 3
    assert {t.dtype for t in state.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("params", "nets", "match"),
    [
        ({"width": 0}, [perceptron(4)], "whole number of units, 1 at least; got 0"),
        ({"width": {"nowhere": 3}}, [perceptron(4)], "'nowhere' is no layer and no group"),
        ({"width": {"2": 3}}, [perceptron(4)], "width of '2' cannot change.*output of the module"),
        ({"weights": [1.0]}, [perceptron(4), perceptron(5)], "got 1 weights for 2 members"),
        ({"max_iter": 0}, [perceptron(4)], "one turn at least"),
        ({}, [perceptron(4), perceptron(5, n_out=3)], r"Tensor '2\.\w+' has shape \(3.*in member 1"),
        ({}, [perceptron(4), perceptron(5, 5)], "Tensor '4.weight' of member 1 is missing in member 0"),
    ],
)
def test_bad_input(params, nets, match):
    data, _ = data_for(nets[0])
    with pytest.raises(ValueError, match=match):
        Barycenter(**params)([n.state_dict() for n in nets], None, data)


def test_it_needs_a_module_and_rows():
    states = [perceptron(4).state_dict()]
    with pytest.raises(ValueError, match="give an objective with the module"):
        Barycenter()(states)
    with pytest.raises(ValueError, match="the objective has none"):
        Barycenter()(states, None, ModuleObjective(perceptron(4), list))
