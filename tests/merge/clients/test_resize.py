"""A copy of a module in the widths of a state."""

import pytest
import torch
from merge.clients.networks import convolutional, perceptron, state_of
from torch import nn

from skfusion.merge import resized

IMAGES = torch.randn(2, 1, 10, 10, dtype=torch.float64)


def test_it_computes_what_a_module_of_these_widths_computes():
    narrow, wide = convolutional(channels=(2, 3), last=4), convolutional(channels=(6, 5), last=7, seed=1)
    before = state_of(narrow)
    copy = resized(narrow, state_of(wide), IMAGES)
    assert torch.equal(copy.eval()(IMAGES), wide(IMAGES))
    assert (copy[0].out_channels, copy[1].num_features, copy[4].in_channels, copy[7].in_features) == (6, 6, 6, 20)
    assert all(torch.equal(before[name], tensor) for name, tensor in narrow.state_dict().items())
    assert all(p.requires_grad for p in copy.parameters())


def test_layers_that_cannot_be_resized_are_named():
    nets = [nn.Sequential(nn.Linear(3, n), nn.LayerNorm(n), nn.Linear(n, 2)) for n in (4, 5)]
    with pytest.raises(ValueError, match=r"'1.weight' has the shape \(5,\) in the state and \(4,\) in the module"):
        resized(nets[0], state_of(nets[1]))


def test_a_forward_pass_that_names_a_width_is_explained():
    class Fixed(nn.Sequential):
        def forward(self, x):
            return self[1](self[0](x).reshape(-1, 4))

    narrow, wide = (Fixed(nn.Linear(3, n), nn.Linear(n, 2)) for n in (4, 6))
    with pytest.raises(ValueError, match="Fixed does not run when its layers have other widths"):
        resized(narrow, state_of(wide), torch.zeros(2, 3))
    assert resized(perceptron(3, 4, 2), state_of(perceptron(3, 6, 2)))[0].out_features == 6
