"""Layers whose units cannot change places: they are averaged as they stand, and that is said, with their names."""

import warnings

import pytest
import torch
from merge.clients.networks import convolutional, drawn, of, perceptron, state_of
from torch import nn

from skfusion.merge import PFNM, FedMA

X = torch.randn(6, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
IMAGES = torch.randn(3, 1, 10, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
MERGERS = pytest.mark.parametrize("merge", [PFNM(correct=True), FedMA()], ids=repr)


class InOrder(nn.Sequential):
    """Adds up the units of one of three layers, in their order."""

    def __init__(self, at):
        super().__init__(nn.Linear(10, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        self.at = at

    def forward(self, x):
        for k, layer in enumerate(self):
            x = layer(x)
            x = x.cumsum(1) if k == self.at else x.relu() if k < 2 else x
        return x


class Scaled(nn.Sequential):
    """Multiplies its outputs by numbers of its own."""

    def __init__(self):
        super().__init__(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 2))
        self.register_buffer("scale", torch.tensor([1.0, 2.0], dtype=torch.float64))

    def forward(self, x):
        return super().forward(x) * self.scale


@MERGERS
@pytest.mark.parametrize("at", [0, 1])
def test_layers_that_are_not_matched_are_named_and_averaged_as_they_stand(merge, at):
    net = drawn(InOrder(at), seed=0)
    clients = [state_of(net), {n: t + 1e-3 for n, t in state_of(net).items()}]
    with pytest.warns(UserWarning, match=rf"matches no units of the layers '{at}', .*\(cumsum\)") as caught:
        fused = merge(clients, objective=of(net, X))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    for name in (f"{at}.weight", f"{at}.bias"):
        torch.testing.assert_close(fused[name], clients[0][name] + 5e-4)


@MERGERS
@pytest.mark.parametrize(
    ("net", "x"), [(perceptron(10, 6, 5, 2, norm=True), X), (convolutional(), IMAGES), (drawn(Scaled(), 0), X)]
)
def test_nothing_is_said_of_outputs_and_of_kernels(merge, net, x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merge([state_of(net)] * 2, objective=of(net, x))


def test_outputs_count_rows_by_class_and_hidden_units_that_are_as_many_do_not():
    net = drawn(InOrder(1), seed=0)
    clients = [state_of(net), {n: t + 1e-3 for n, t in state_of(net).items()}]
    metas = [{"class_counts": [3.0, 0.0], "n_rows": 3.0}, {"class_counts": [1.0, 4.0], "n_rows": 5.0}]
    with pytest.warns(UserWarning, match="of the layers '1'"):
        fused = FedMA().for_members(metas)(clients, objective=of(net, X))
    torch.testing.assert_close(fused["1.bias"], clients[0]["1.bias"] + 1e-3 * 5 / 8)
    torch.testing.assert_close(
        fused["2.bias"], clients[0]["2.bias"] + 1e-3 * torch.tensor([1 / 4, 1.0], dtype=torch.float64)
    )
