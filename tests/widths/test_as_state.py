"""A copy of a module in the widths of a state."""

import pytest
import torch
from merge.clients.networks import convolutional, drawn, perceptron, state_of
from torch import nn

from skfusion.widths import resized_as

IMAGES = torch.randn(2, 1, 10, 10, dtype=torch.float64)


def test_it_computes_what_a_module_of_these_widths_computes():
    narrow, wide = convolutional(channels=(2, 3), last=4), convolutional(channels=(6, 5), last=7, seed=1)
    before = state_of(narrow)
    copy = resized_as(narrow, state_of(wide), IMAGES)
    assert torch.equal(copy.eval()(IMAGES), wide(IMAGES))
    assert (copy[0].out_channels, copy[1].num_features, copy[4].in_channels, copy[7].in_features) == (6, 6, 6, 20)
    assert all(torch.equal(before[name], tensor) for name, tensor in narrow.state_dict().items())
    assert all(p.requires_grad for p in copy.parameters())


class Recurrent(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.cell, self.norm, self.last = nn.LSTM(10, n), nn.LayerNorm(n, elementwise_affine=False), nn.Linear(n, 2)

    def forward(self, x):
        return self.last(self.norm(self.cell(x)[0]))


def test_layers_are_those_that_are_resized_elsewhere():
    narrow, wide = drawn(Recurrent(3), 0), drawn(Recurrent(5), 1)
    copy = resized_as(narrow, state_of(wide), IMAGES[:, 0])
    torch.testing.assert_close(copy.eval()(IMAGES[:, 0]), wide(IMAGES[:, 0]))
    assert (copy.cell.hidden_size, copy.norm.normalized_shape) == (5, (5,))


class Tied(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, n), nn.Linear(3, n), nn.Linear(n, 2)
        self.second.weight = self.first.weight
        self.last.bias.requires_grad_(False)

    def forward(self, x):
        return self.last(self.first(x).relu() + self.second(x).relu())


def test_tied_and_frozen_parameters_stay_so():
    copy = resized_as(Tied(4), Tied(6).state_dict())
    assert copy.second.weight is copy.first.weight
    assert copy.second.weight.shape == (6, 3)
    assert [name for name, p in copy.named_parameters() if not p.requires_grad] == ["last.bias"]


def test_layers_that_cannot_be_resized_are_named():
    class Scale(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.by = nn.Parameter(torch.ones(n))

        def forward(self, x):
            return x * self.by

    nets = [nn.Sequential(nn.Linear(3, n), Scale(n), nn.Linear(n, 2)) for n in (4, 5)]
    with pytest.raises(ValueError, match="Scale '1' holds units whose number is to change"):
        resized_as(nets[0], state_of(nets[1]))
    nets = [nn.Sequential(nn.Conv1d(4, n, 1, groups=2), nn.Conv1d(n, 2, 1)) for n in (4, 6)]
    with pytest.raises(ValueError, match="Conv1d '0' has groups of channels"):
        resized_as(nets[0], state_of(nets[1]))


def test_a_forward_pass_that_names_a_width_is_explained():
    class Fixed(nn.Sequential):
        def forward(self, x):
            return self[1](self[0](x).reshape(-1, 4))

    narrow, wide = (Fixed(nn.Linear(3, n), nn.Linear(n, 2)) for n in (4, 6))
    with pytest.raises(ValueError, match="Fixed cannot be resized to these widths: its code"):
        resized_as(narrow, state_of(wide), torch.zeros(2, 3))
    assert resized_as(perceptron(3, 4, 2), state_of(perceptron(3, 6, 2)))[0].out_features == 6


def test_a_state_of_another_architecture_is_refused_with_its_tensor():
    net, state = perceptron(3, 4, 2), state_of(perceptron(3, 6, 2))
    deeper, flat = state | {"9.bias": torch.zeros(2)}, state | {"0.weight": torch.zeros(6, 3, 1)}
    for wrong, match in (
        ({k: v for k, v in state.items() if k != "0.bias"}, "'0.bias' does not fit: the state has no such tensor"),
        (deeper, "'9.bias' does not fit: the state has such a tensor, and the module has none"),
        (flat, r"'0.weight' does not fit: .*\(6, 3, 1\), and the module in the shape \(4, 3\)"),
    ):
        with pytest.raises(ValueError, match=match):
            resized_as(net, wrong)
    with pytest.raises(TypeError, match=r"state must be a dict .*Sequential.*Give its state_dict\(\)"):
        resized_as(net, net)
