"""PFNM: planted orders are found, the shrinkage is the posterior's, and widths are what the data ask for."""

import numpy as np
import pytest
import torch
from merge.clients.networks import convolutional, of, output, perceptron, state_of, turned, widths
from torch import nn

from skfusion.merge import PFNM
from skfusion.merge.clients._beta_bernoulli import Prior
from skfusion.state import Fused

X = torch.randn(6, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
IMAGES = torch.randn(3, 1, 10, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize("gamma", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("hidden", [(30,), (30, 20)])
def test_copies_in_another_order_are_matched_without_new_units(gamma, hidden):
    net = perceptron(10, *hidden, 4)
    fused = PFNM(gamma=gamma, correct=True)([state_of(net), turned(net, X)], objective=of(net, X))
    assert not isinstance(fused, Fused)
    torch.testing.assert_close(output(fused, net, X), net(X))


def test_a_large_mass_splits_copies():
    net = perceptron(10, 30, 4)
    copies = [state_of(net), turned(net, X)]
    n = [widths(PFNM(gamma=gamma)(copies, objective=of(net, X)))[0] for gamma in (1.0, 1e4, 1e12)]
    assert n[0] == 30 < n[1] < n[2] == 60


def test_networks_without_batch_norm_keep_their_function_when_all_units_are_split():
    nets = [convolutional(seed) for seed in range(2)]
    fused = PFNM(gamma=1e15, correct=True, sigma=1e-3)([*map(state_of, nets)], objective=of(nets[0], IMAGES))
    assert widths(fused) == [8, 10, 12, 3]
    # each client's units stand beside the other's, and the output reads both: it is the sum, with the mean of biases
    bias = sum(net[-1].bias for net in nets) / 2
    expected = sum(net(IMAGES) - net[-1].bias for net in nets) + bias
    torch.testing.assert_close(output(fused, nets[0], IMAGES), expected)


@pytest.mark.parametrize(("noise", "most_new"), [(0.1, 0), (0.3, 2)])
def test_noisy_copies_are_matched(noise, most_new):
    net, generator = perceptron(10, 30, 4), torch.Generator().manual_seed(2)
    near = {n: t + noise * torch.randn(t.shape, generator=generator) for n, t in turned(net, X).items()}
    assert widths(PFNM()([state_of(net), near], objective=of(net, X)))[0] <= 30 + most_new


def test_units_that_have_nothing_in_common_are_new():
    net, other = perceptron(10, 30, 4), perceptron(10, 30, 4, seed=1)
    n = [widths(PFNM(sigma=sigma)([state_of(net), state_of(other)], objective=of(net, X)))[0] for sigma in (0.2, 1e3)]
    assert n[0] > 50
    assert n[1] == 30


@pytest.mark.parametrize("n_clients", [1, 2, 5])
@pytest.mark.parametrize(("sigma", "sigma0"), [(1.0, 1.0), (0.5, 3.0)])
def test_copies_are_shrunk_by_the_posterior(n_clients, sigma, sigma0):
    net = perceptron(10, 12, 4)
    clients = [state_of(net)] * n_clients
    fused = PFNM(sigma, sigma0, gamma=1e-3)(clients, objective=of(net, X))
    factor = (n_clients / sigma**2) / (1 / sigma0**2 + n_clients / sigma**2)
    assert Prior(sigma, sigma0, 1.0).shrinkage(np.array(n_clients)) == pytest.approx(factor)
    for name, tensor in state_of(net).items():
        torch.testing.assert_close(fused[name], factor * tensor)


def test_a_wide_prior_does_not_shrink():
    net = perceptron(10, 12, 4)
    fused = PFNM(sigma0=1e6, gamma=1e-3)([state_of(net), turned(net, X)], objective=of(net, X))
    torch.testing.assert_close(output(fused, net, X), net(X))


def test_clients_may_have_different_widths():
    nets = [perceptron(10, n, m, 4, seed=n) for n, m in ((5, 8), (9, 6))]
    fused = PFNM()([*map(state_of, nets)], objective=of(nets[0], X))
    first, second, _ = widths(fused)
    assert 9 <= first <= 14
    assert 8 <= second <= 14
    assert output(fused, nets[0], X).shape == (6, 4)


def test_the_output_bias_counts_rows_by_class():
    net = perceptron(10, 5, 3)
    clients = [state_of(net), {n: t + 1 if n == "2.bias" else t for n, t in state_of(net).items()}]
    metas = [{"class_counts": [3.0, 0.0, 2.0], "n_rows": 5.0}, {"class_counts": [1.0, 4.0, 2.0], "n_rows": 7.0}]
    fused = PFNM(correct=True).for_members(metas)(clients, objective=of(net, X))
    shift = torch.tensor([1 / 4, 1.0, 1 / 2], dtype=torch.float64)
    torch.testing.assert_close(fused["2.bias"], net[2].bias.detach() + shift)
    for name in ("0.weight", "0.bias", "2.weight"):
        torch.testing.assert_close(fused[name], state_of(net)[name])


def test_statistics_of_batch_norm_move_with_their_units_and_are_not_shrunk():
    net = perceptron(10, 8, 4, norm=True)
    net[1].running_mean.copy_(torch.arange(8.0))
    fused = PFNM(gamma=1e-3)([state_of(net), turned(net, X)], objective=of(net, X))
    torch.testing.assert_close(fused["1.running_mean"], net[1].running_mean)


def test_what_cannot_be_matched_is_named():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(10, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            h = self.first(x).relu()
            return self.last(h + self.second(h).relu())

    class Fixed(nn.Sequential):
        def forward(self, x):
            return self[1](self[0](x).relu().reshape(-1, 2, 3).sum(1))

    normed = nn.Sequential(nn.Linear(10, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2))
    merge = PFNM(gamma=1e15, sigma=1e-3)
    for net, message in (
        (Residual(), r"computed by 2: first.weight, second.weight"),
        (normed, "'1' is LayerNorm"),
    ):
        clients = [state_of(net.double()), state_of(net)]
        with pytest.raises(ValueError, match=message):
            merge(clients, objective=of(net, X))
    with pytest.raises(ValueError, match="give objective="):
        merge([state_of(perceptron(10, 3, 2))])
    with pytest.raises(ValueError, match=r"'0.weight' has shape \(3, 10\) in member 0 and \(3, 9\) in member 1"):
        merge([state_of(perceptron(10, 3, 2)), state_of(perceptron(9, 3, 2))], objective=of(perceptron(10, 3, 2), X))
    with pytest.raises(ValueError, match="knows of 1 members, and was given 2"):
        merge.for_members([{}])([state_of(perceptron(10, 3, 2))] * 2, objective=of(perceptron(10, 3, 2), X))
