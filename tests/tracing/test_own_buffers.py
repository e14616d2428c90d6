"""Buffers that sit on units, and so are a member's own, move with them; and so do experts with their router."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torchvision.ops import FrozenBatchNorm2d
from tracing.networks import Experts

from skfusion.align import WeightMatching
from skfusion.state import distance
from skfusion.tracing import symmetry_of


def pruned():
    """Return a perceptron in which half of the weights of each layer are masked."""
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    for layer in (net[0], net[2]):
        prune.random_unstructured(layer, "weight", 0.5)
    return net


def frozen():
    """Return a convolutional network with statistics that are buffers only, none of which are trivial."""
    norm = FrozenBatchNorm2d(4)
    for buffer in norm.buffers():
        buffer.uniform_(0.5, 2)
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Conv2d(4, 2, 3))


CASES = {
    "masks of pruned weights": (pruned, (5, 4), {"0.weight_mask", "2.weight_mask"}),
    "frozen statistics": (frozen, (2, 1, 8, 8), {"1.weight", "1.bias", "1.running_mean", "1.running_var"}),
}


@pytest.mark.parametrize("case", CASES)
def test_buffers_on_units_move_with_them_and_the_function_stays(case):
    build, shape, names = CASES[case]
    torch.manual_seed(0)
    net, x = build().eval(), torch.randn(shape)
    symmetry = symmetry_of(net, x)
    assert len(symmetry.groups) == 1
    assert names <= {*symmetry.buffers}
    state = {k: v.clone() for k, v in net.state_dict().items()}
    moved = symmetry.permute({g: np.roll(np.arange(group.size), 1) for g, group in symmetry.groups.items()}, state)
    assert all(not torch.equal(moved[n], state[n]) for n in names)
    expected = net(x).detach()
    net.load_state_dict(moved)
    torch.testing.assert_close(net(x), expected)
    assert distance(WeightMatching()(moved, state, symmetry).apply(moved), state) == 0


def test_a_mask_that_belongs_to_no_pruned_weight_is_a_constant():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    net[0].register_buffer("other_mask", torch.ones(6))
    assert "buffer" in symmetry_of(net, torch.randn(5, 4)).pinned["0.other_mask", 0]


def test_experts_change_places_with_the_outputs_of_their_router():
    torch.manual_seed(0)
    net, x = Experts().double(), torch.randn(6, 4, dtype=torch.float64)
    symmetry = symmetry_of(net, x)
    experts = next(g for g in symmetry.groups.values() if g.size == 3)
    assert any(experts.name in g.context for g in symmetry.groups.values())  # the units of each expert
    moved = symmetry.permute({experts.name: [2, 0, 1]}, net.state_dict())
    for name in ("gate.weight", "gate.bias", "a", "b"):
        assert torch.equal(moved[name], net.state_dict()[name][[2, 0, 1]])
    expected = net(x).detach()
    net.load_state_dict(moved)
    torch.testing.assert_close(net(x), expected)
