"""ZipIt: units of all members side by side, of which the most similar ones become one."""

import numpy as np
import pytest
import torch
from merge.matching.networks import ROWS, data_for, drawn, network, outputs, perceptron, reordered
from torch import nn

from skfusion.merge import ZipIt
from skfusion.merge.matching._correlations import correlations
from skfusion.merge.matching._networks import read_networks
from skfusion.merge.matching._zip import zipped
from skfusion.objective import Batch, ModuleObjective


def zip_of(nets, merge=None):
    data, reported = data_for(nets[0])
    return network((merge or ZipIt())([n.state_dict() for n in nets], None, data), nets[0]), reported


def mean_output(nets):
    return torch.stack([outputs(n) for n in nets]).mean(0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_equal_networks_in_any_order_of_units_merge_to_what_they_are(k):
    net = perceptron(6, 5)
    merged, reported = zip_of([reordered(net, i) if i else net for i in range(k)])
    torch.testing.assert_close(outputs(merged), outputs(net))
    assert {*reported["widths"].values()} == {5, 6}


def test_without_merges_the_network_is_all_members_side_by_side():
    nets = [perceptron(6, 5, seed=0), perceptron(4, 7, seed=1), perceptron(3, 3, seed=2)]
    merged, _ = zip_of(nets, ZipIt(ratio=0.0))
    assert [layer.out_features for layer in merged if isinstance(layer, nn.Linear)] == [13, 15, 2]
    torch.testing.assert_close(outputs(merged), mean_output(nets))
    state = merged.state_dict()["2.weight"]  # blocks, and zeros beside them
    torch.testing.assert_close(state[:5, :6], nets[0][2].weight.detach())
    assert (state[:5, 6:] == 0).all()
    assert (state[5:, :6] == 0).all()


def test_from_a_layer_on_members_stand_side_by_side():
    """With equal first layers, what is merged there changes nothing, so the outputs are the mean of the members'."""
    nets = [perceptron(6, 5, seed=0), perceptron(6, 4, seed=1)]
    nets[1][0].load_state_dict(nets[0][0].state_dict())
    merged, reported = zip_of(nets, ZipIt(until="2"))
    assert reported["widths"] == {"0.weight:0": 6, "2.weight:0": 9}
    torch.testing.assert_close(outputs(merged), mean_output(nets))
    whole, _ = zip_of(nets)
    assert not torch.allclose(outputs(whole), mean_output(nets))


def test_layers_below_are_read_where_their_units_went():
    """The formula of the paper, written out for one hidden layer."""
    nets = [perceptron(4, seed=0), perceptron(4, seed=1)]
    merged, _ = zip_of(nets, ZipIt(ratio=0.25))
    hidden = torch.cat([torch.tanh(outputs(n[:1])) for n in nets], 1)
    cluster = zipped(np.corrcoef(hidden.T.numpy()), np.repeat([0, 1], 4), 6, 0.3, 0.125)
    read = torch.from_numpy(np.eye(6)[cluster])
    made = (read / read.sum(0)).T
    first = torch.cat([n[0].weight.detach() for n in nets])
    last = torch.cat([n[2].weight.detach() for n in nets], 1) / 2
    torch.testing.assert_close(merged[0].weight.detach(), made @ first)
    torch.testing.assert_close(merged[2].weight.detach(), last @ read)


def test_correlations_are_those_of_all_units_on_all_rows():
    nets = [perceptron(4, seed=0), perceptron(6, seed=1)]
    data, _ = data_for(nets[0])
    networks = read_networks(ZipIt(), [n.state_dict() for n in nets], data)
    (found,) = correlations(networks, data).values()
    hidden = torch.cat([torch.tanh(outputs(n[:1])) for n in nets], 1).numpy()
    np.testing.assert_allclose(found, np.corrcoef(hidden.T), atol=1e-10)


def test_weights_of_rows_are_repetitions_and_batches_do_not_matter():
    nets = [perceptron(6, seed=0), perceptron(6, seed=1)]
    times = torch.arange(60) % 3
    cut = [Batch(ROWS[i : i + 7], ROWS[i : i + 7], times[i : i + 7].double()) for i in range(0, 60, 7)]
    repeated = ROWS.repeat_interleave(times, 0)
    states = [n.state_dict() for n in nets]
    a, b = (
        correlations(read_networks(ZipIt(), states, data), data)["0.weight:0"]
        for data in (ModuleObjective(nets[0], lambda: cut), data_for(nets[0], repeated)[0])
    )
    np.testing.assert_allclose(a, b, atol=1e-10)


def test_units_that_do_not_vary_do_no_harm():
    net = perceptron(6, activation=nn.ReLU)
    with torch.no_grad():
        net[0].bias[2] = -1e3
    merged, _ = zip_of([net, reordered(net, 1)])
    torch.testing.assert_close(outputs(merged), outputs(net))


class Residual(nn.Module):
    def __init__(self, n=6, m=4):
        super().__init__()
        self.into, self.down, self.up, self.out = nn.Linear(3, n), nn.Linear(n, m), nn.Linear(m, n), nn.Linear(n, 2)

    def forward(self, x):
        h = self.into(x)
        return self.out(h + self.up(torch.tanh(self.down(h))))


def convolution(n=4, m=6):
    layers = [nn.Conv1d(1, n, 2), nn.BatchNorm1d(n), nn.ReLU(), nn.Conv1d(n, m, 1), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(nn.Unflatten(1, (1, 3)), *layers, nn.Linear(2 * m, 2))


@pytest.mark.parametrize(("kind", "sizes"), [(Residual, (9, 5)), (convolution, (8, 5))])
def test_residual_streams_and_channels(kind, sizes):
    net, wide = drawn(kind().double(), 0), drawn(kind(*sizes).double(), 1)
    torch.testing.assert_close(outputs(zip_of([net, reordered(net, 3)])[0]), outputs(net))
    torch.testing.assert_close(outputs(zip_of([net, wide], ZipIt(ratio=0.0))[0]), mean_output([net, wide]))
    merged, _ = zip_of([net, wide])
    assert [p.shape for p in merged.parameters()] == [p.shape for p in net.parameters()]


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"alpha": -0.1}, "alpha of ZipIt must lie between 0 and 1; got -0.1"),
        ({"budget": 2}, "budget of ZipIt"),
        ({"ratio": 1.5}, "ratio of ZipIt"),
        ({"ratio": 1}, "no units would be left"),
        ({"until": "nowhere"}, r"until='nowhere' is no layer.*\['0', '2'\]"),
        ({"alpha": 0.0, "budget": 0.0, "ratio": 0.8}, "alpha=0.0 and budget=0.0 forbid it"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        zip_of([perceptron(6, seed=0), perceptron(6, seed=1)], ZipIt(**params))


def test_layers_side_by_side_may_not_be_normalised_together():
    nets = [drawn(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double(), i) for i in range(2)]
    with pytest.raises(ValueError, match="LayerNorm '1' normalises over units"):
        zip_of(nets, ZipIt(until="0"))


def test_one_row_is_too_few():
    net = perceptron(4)
    data, _ = data_for(net, ROWS[:1])
    with pytest.raises(ValueError, match="how they vary over rows, of which there are 1"):
        ZipIt()([net.state_dict()] * 2, None, data)
