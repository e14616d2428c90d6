"""FedMA: one client is itself, copies do not grow, and clients retrain what lies above the matched layers."""

import pytest
import torch
from merge.clients.networks import convolutional, of, output, perceptron, state_of, turned, widths
from torch import nn

from skfusion.merge import FedMA
from skfusion.state import Fused

X = torch.randn(6, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
IMAGES = torch.randn(3, 1, 10, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
NETS = {"perceptron": (lambda: perceptron(10, 12, 9, 3), X), "convolutional": (convolutional, IMAGES)}


@pytest.fixture(params=NETS)
def net_and_inputs(request):
    make, x = NETS[request.param]
    return make(), x


def test_one_client_is_itself(net_and_inputs):
    net, x = net_and_inputs
    fused = FedMA()([state_of(net)], objective=of(net, x))
    for name, tensor in state_of(net).items():
        assert torch.equal(fused[name], tensor)


def test_copies_in_other_orders_are_the_network_and_do_not_grow(net_and_inputs):
    net, x = net_and_inputs
    clients = [state_of(net), turned(net, x), turned(net, x, seed=2)]
    fused = FedMA()(clients, objective=of(net, x))
    assert not isinstance(fused, Fused)
    torch.testing.assert_close(output(fused, net, x), net(x))


def test_channels_stay_together_where_a_linear_layer_reads_them(net_and_inputs):
    net, x = net_and_inputs
    clients = [state_of(net), state_of(type(net)(*net))]
    fused = FedMA(gamma=1e12)(clients, objective=of(net, x))  # all units are new, and the output reads each twice
    assert widths(fused)[:-1] == [2 * n for n in widths(state_of(net))[:-1]]
    torch.testing.assert_close(output(fused, net, x), net(x))


def test_clients_retrain_what_is_not_frozen():
    net, seen = perceptron(10, 12, 9, 3), []

    def retrain(states, module, frozen):
        seen.append((len(states), module[0].out_features, module[2].out_features, [*frozen]))
        return [{n: t if n in frozen else t + k for n, t in s.items()} for k, s in enumerate(states)]

    fused = FedMA().by_layers([state_of(net), turned(net, X)], of(net, X), retrain)
    assert seen == [
        (2, 12, 9, ["0.weight", "0.bias"]),
        (2, 12, 9, ["0.weight", "0.bias", "2.weight", "2.bias"]),
    ]
    torch.testing.assert_close(fused["0.weight"], state_of(net)["0.weight"])
    # the last layer has seen both trainings of the second client, and is the mean of the two
    torch.testing.assert_close(fused["4.bias"], state_of(net)["4.bias"] + 1)


def test_all_clients_go_on_with_the_matched_layer_in_its_new_width():
    nets, shapes = [perceptron(10, 6, 5, 3, seed=seed) for seed in range(3)], []

    def retrain(states, module, frozen):
        shapes.append([tuple(s["2.weight"].shape) for s in states])
        for state in states:
            for name in frozen:
                assert torch.equal(state[name], states[0][name])
            module.load_state_dict(state)
        return states

    fused = FedMA(gamma=1e12, sigma=1e-3).by_layers([*map(state_of, nets)], of(nets[0], X), retrain)
    assert shapes == [[(5, 18)] * 3, [(15, 18)] * 3]
    assert widths(fused) == [18, 15, 3]


def test_the_last_layer_counts_rows_by_class():
    net = perceptron(10, 5, 2)
    clients = [state_of(net), {n: t + 1 if n[0] == "2" else t for n, t in state_of(net).items()}]
    metas = [{"class_counts": [3.0, 0.0], "n_rows": 3.0}, {"class_counts": [1.0, 4.0], "n_rows": 5.0}]
    fused = FedMA().for_members(metas)(clients, objective=of(net, X))
    shift = torch.tensor([1 / 4, 1.0], dtype=torch.float64)
    torch.testing.assert_close(fused["2.weight"], net[2].weight.detach() + shift[:, None])
    rows = FedMA().for_members([{"n_rows": 3.0}, {"n_rows": 5.0}])(clients, objective=of(net, X))
    torch.testing.assert_close(rows["2.bias"], net[2].bias.detach() + 5 / 8)


def test_other_layers_with_a_row_for_each_class_count_rows():
    class Pinned(nn.Sequential):
        def forward(self, x):
            return self[2](self[1](self[0](x).cumsum(1)).relu())

    net = Pinned(nn.Linear(10, 2), nn.Linear(2, 5), nn.Linear(5, 2)).double()
    clients = [state_of(net), {n: t + 1 for n, t in state_of(net).items()}]
    metas = [{"class_counts": [3.0, 0.0], "n_rows": 3.0}, {"class_counts": [1.0, 4.0], "n_rows": 5.0}]
    with pytest.warns(UserWarning, match="no units of the layers '0'"):
        fused = FedMA(sigma=10).for_members(metas)(clients, objective=of(net, X))
    torch.testing.assert_close(fused["0.bias"], net[0].bias.detach() + 5 / 8)
    torch.testing.assert_close(fused["2.bias"], net[2].bias.detach() + torch.tensor([1 / 4, 1.0]).double())


def test_recurrent_layers_are_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.last = nn.RNN(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.cell(x)[0][:, -1])

    net = Recurrent().double()
    with pytest.raises(ValueError, match="'cell' is RNN, whose width it cannot change"):
        FedMA()([state_of(net)] * 2, objective=of(net, torch.randn(2, 5, 3, dtype=torch.float64)))


def test_a_parameter_that_the_network_holds_itself_is_named():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.last = nn.Parameter(torch.ones(4, 3)), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(torch.relu(x @ self.weight.T))

    net = Own().double()
    with pytest.raises(ValueError, match="'weight' is a parameter of Own, whose width it cannot change"):
        FedMA()([state_of(net)] * 2, objective=of(net, torch.randn(2, 3, dtype=torch.float64)))
