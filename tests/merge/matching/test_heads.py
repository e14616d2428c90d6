"""Networks of different label sets with one body, and heads side by side."""

import pytest
import torch
from merge.matching.networks import ROWS, data_for, drawn, network, outputs, perceptron
from sklearn.datasets import load_digits
from torch import nn

from skfusion.collect import Seeds
from skfusion.estimators import SoupClassifier
from skfusion.merge import Uniform, ZipIt, zip_heads
from skfusion.nets import mlp_classifier, restored, with_module
from skfusion.objective import Batch, ModuleObjective


def zipped(nets, merge=None):
    data, _ = data_for(nets[0])
    return network(zip_heads(merge or ZipIt(), [n.state_dict() for n in nets], data), nets[0])


def beside(nets):
    return torch.cat([outputs(n) for n in nets], 1)


@pytest.mark.parametrize("merge", [ZipIt(ratio=0.0), ZipIt(until="0")])
def test_without_merges_each_head_gives_what_its_member_gives(merge):
    nets = [perceptron(6, n_out=2, seed=0), perceptron(4, n_out=3, seed=1), perceptron(5, n_out=1, seed=2)]
    merged = zipped(nets, merge)
    assert merged[0].out_features == 15
    assert merged[2].out_features == 6
    torch.testing.assert_close(outputs(merged), beside(nets))


def test_members_of_one_body_keep_their_heads():
    nets = [perceptron(6, 5, n_out=n, seed=n) for n in (2, 4)]
    for layer in (0, 2):
        nets[1][layer].load_state_dict(nets[0][layer].state_dict())
    merged = zipped(nets)
    assert merged[0].out_features == 6
    assert merged[2].out_features == 5
    torch.testing.assert_close(outputs(merged), beside(nets))


def test_one_member_is_what_it_is():
    net = perceptron(6, n_out=3)
    torch.testing.assert_close(outputs(zipped([net])), outputs(net))


@pytest.mark.filterwarnings("ignore::skfusion.estimators.support._far_below.FarBelowWarning")
def test_two_halves_of_the_digits_become_one_network_that_tells_all_of_them_apart():
    X, y = load_digits(return_X_y=True)
    net = mlp_classifier(module__hidden=(24,), max_epochs=5)
    scaling = {"x_mean": X.mean(0), "x_std": X.std(0) + 1, "y_mean": [0] * 5, "y_std": [1] * 5}
    net.set_params(module__scaling=scaling, module__n_in=64, module__n_out=5)
    parts = [(X[i], y[i]) for i in (y < 5, y >= 5)]
    nets = [
        SoupClassifier(net, collect=Seeds(1), merge=Uniform(), random_state=i).fit(*part).estimator_
        for i, part in enumerate(parts)
    ]
    x = torch.from_numpy(X).float()
    data = ModuleObjective(nets[0].module_, lambda: [Batch(x, x)])
    state, module = zip_heads(ZipIt(budget=0.5), [n.module_.state_dict() for n in nets], data)
    merged = restored(with_module(nets[0], module), state, classes=range(10))
    assert merged.predict_proba(X.astype("float32")).shape == (len(X), 10)
    assert (merged.predict(X.astype("float32")) == y).mean() > 0.5
    assert module.layers[0].out_features == 24
    assert module.y_std.shape == (10,)


class Skips(nn.Module):
    """A network whose outputs are those of two layers, of which one reads the inputs."""

    def __init__(self, n_out):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, n_out), nn.Linear(3, n_out)

    def forward(self, x):
        return {"logits": self.b(torch.tanh(self.a(x))) + self.c(x)}


def test_heads_of_several_layers():
    nets = [drawn(Skips(n).double(), n) for n in (2, 3)]
    data, _ = data_for(nets[0])
    merged = network(zip_heads(ZipIt(ratio=0.0), [n.state_dict() for n in nets], data), nets[0])
    with torch.no_grad():
        expected = torch.cat([n(ROWS)["logits"] for n in nets], 1)
        torch.testing.assert_close(merged(ROWS)["logits"], expected)


@pytest.mark.parametrize(
    ("nets", "match"),
    [
        ([nn.Sequential(*perceptron(4, seed=i), nn.Softmax(1)) for i in range(2)], "let the module return logits"),
        ([nn.Sequential(*perceptron(4, seed=i), nn.Flatten(0)) for i in range(2)], r"have the shape \(8,\)"),
        ([nn.Sequential(nn.Linear(3, 3), Last()) for Last in (nn.Identity, nn.Identity)], None),
    ],
)
def test_outputs_that_cannot_stand_side_by_side(nets, match):
    nets = [n.double() for n in nets]
    if match is None:  # no hidden layer: the heads are all there is
        torch.testing.assert_close(outputs(zipped(nets)), beside(nets))
        return
    with pytest.raises(ValueError, match=match):
        zipped(nets)
