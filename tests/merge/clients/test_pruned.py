"""Pruned networks: weights are matched as they are used, and a mask leaves out what all clients leave out."""

import pytest
import torch
from merge.clients.networks import drawn, of, output, state_of, turned
from torch import nn
from torch.nn.utils import prune

from skfusion.merge import PFNM, FedMA

X = torch.randn(6, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
MERGERS = pytest.mark.parametrize("merge", [PFNM(correct=True), FedMA()], ids=repr)


def pruned(seed=0, width=7):
    """Return a network of which half the weights are pruned, each layer's by a mask of its own."""
    net = drawn(nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 3)), seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in (net[0], net[2]):
        mask = torch.rand(layer.weight.shape, generator=generator) < 0.5
        prune.custom_from_mask(layer, "weight", mask.double())
    return net


@MERGERS
def test_copies_in_other_orders_are_the_network_with_its_masks(merge):
    net = pruned()
    fused = merge([turned(net, X, seed=2), turned(net, X), state_of(net)], objective=of(net, X))
    torch.testing.assert_close(output(fused, net, X), net(X))
    masks = [state["0.weight_mask"] for state in (fused, state_of(net))]
    assert {*masks[0].unique().tolist()} == {0.0, 1.0}
    assert masks[0].sum() == masks[1].sum()


@MERGERS
def test_weights_that_one_client_has_pruned_count_as_zero_for_it(merge):
    net, other = pruned(), None
    other = {name: t.clone() for name, t in state_of(net).items()}
    other["0.weight_mask"] = (torch.rand(7, 10, generator=torch.Generator().manual_seed(5)) < 0.9).double()
    states = [state_of(net), other]
    fused = merge(states, objective=of(net, X))
    used = [s["0.weight_orig"] * s["0.weight_mask"] for s in (*states, fused)]
    # units may stand in another order: the mean of each client's, in whichever
    order = (fused["0.bias"][:, None] - states[0]["0.bias"]).abs().argmin(1)
    torch.testing.assert_close(used[2], ((used[0] + used[1]) / 2)[order])
    either = (states[0]["0.weight_mask"] + states[1]["0.weight_mask"]).ne(0).double()
    assert torch.equal(fused["0.weight_mask"], either[order])


@MERGERS
def test_units_that_only_one_client_has_keep_their_weights(merge):
    net, other = pruned(), pruned(seed=3)
    new = type(merge)(**{**merge.get_params(), "gamma": 1e12})  # all units are new
    fused = new([state_of(net), state_of(other)], objective=of(net, X))
    assert fused.state["0.weight_orig"].shape == (14, 10)
    hidden = torch.relu(torch.cat([net[0](X), other[0](X)], 1))
    found = torch.relu(fused.net.double()[0](X))
    for column in hidden.T:
        assert (found.T - column).abs().sum(1).min() < 1e-10


def test_clients_that_lack_a_unit_can_learn_the_weights_that_read_it():
    net, other, seen = pruned(), pruned(seed=3), []

    def retrain(states, module, frozen):
        seen.extend(state["2.weight_mask"] for state in states)
        return states

    FedMA(gamma=1e12).by_layers([state_of(net), state_of(other)], of(net, X), retrain)
    assert torch.equal(seen[0], seen[1])
    assert seen[0].sum() == sum(n[2].weight_mask.sum() for n in (net, other))
