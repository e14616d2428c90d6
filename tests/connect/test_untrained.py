"""What a curve does not train: frozen tensors, buffers, and tensors that are equal in both ends."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from skfusion.connect import Bezier, Fourier, PolyChain
from skfusion.objective import Batch, ModuleObjective

kinds = pytest.mark.parametrize("kind", [PolyChain, Bezier, Fourier])


def made(make, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class Parts(nn.Module):
    """A frozen layer, a float buffer, a norm and a head; it keeps what it has computed with."""

    def __init__(self, normed=False):
        super().__init__()
        self.body, self.norm, self.head = (
            nn.Linear(3, 4),
            nn.BatchNorm1d(4) if normed else nn.Identity(),
            nn.Linear(4, 2),
        )
        self.body.requires_grad_(False)
        self.register_buffer("shift", torch.randn(3))
        self.seen = []

    def forward(self, x):
        self.seen.append([t.detach().clone() for t in (self.body.weight, self.shift, self.head.weight)])
        return self.head(self.norm(self.body(x + self.shift)).tanh())


def rows(n=6):
    x = made(lambda: torch.randn(60, 3), 5).double()
    return [Batch(part, (part[:, 0] > part[:, 1]).long()) for part in x.split(60 // n)]


def objective(module, batches):
    return ModuleObjective(module, lambda: batches, criterion=lambda out, b: nn.functional.cross_entropy(out, b.y))


def ends_of(make, seeds=(1, 2)):
    return [{k: v.detach().clone() for k, v in made(make, s).double().state_dict().items()} for s in seeds]


@kinds
@pytest.mark.parametrize("n_bends", [1, 3])
def test_frozen_tensors_and_buffers_are_where_the_returned_path_has_them(kind, n_bends):
    module, ends = made(Parts, 0).double(), ends_of(Parts)
    curve = kind(n_bends=n_bends, n_epochs=2, lr=0.01)
    path = curve(ends, objective(module, rows()))
    positions = np.random.RandomState(0).uniform(size=12)
    assert len(module.seen) == 12
    for t, (weight, shift, _) in zip(positions, module.seen, strict=True):
        point = path.at(t)
        torch.testing.assert_close(weight, point["body.weight"], rtol=0, atol=1e-12)
        torch.testing.assert_close(shift, point["shift"], rtol=0, atol=1e-12)
    assert len({float(weight.sum()) for weight, _, _ in module.seen}) == 12


@kinds
@pytest.mark.parametrize("normed", [False, True], ids=["plain", "batch norm"])
def test_the_history_is_the_loss_of_the_path_that_is_returned(kind, normed):
    """At a learning rate of 0 the path that is trained is the one that is returned."""
    module, ends, batches = made(lambda: Parts(normed), 0).double(), ends_of(lambda: Parts(normed)), rows()
    path = kind(n_epochs=1, lr=0.0)(ends, objective(module, batches))
    losses = []
    for t, batch in zip(np.random.RandomState(0).uniform(size=6), batches, strict=True):
        state = {k: v.clone() for k, v in path.at(t).items()}
        losses.append(float(nn.functional.cross_entropy(functional_call(module.train(), state, batch.x), batch.y)))
    assert path.history == pytest.approx([np.mean(losses)], abs=1e-12)


def test_integers_are_those_of_the_bends():
    class Counted(Parts):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.tensor(0))

        def forward(self, x):
            self.seen.append(int(self.count))
            return self.head(x @ self.body.weight.T)

    ends, module = ends_of(Counted), made(Counted, 0).double()
    ends[0]["count"], ends[1]["count"] = torch.tensor(3), torch.tensor(8)
    path = Bezier(n_epochs=1)(ends, objective(module, rows()))
    assert {*module.seen} == {8} == {int(path.at(0.4)["count"])}


class Kept(nn.Module):
    """BatchNorm that stays in evaluation mode in training."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.seen = []

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x):
        self.seen.append(self.norm.running_mean.clone())
        return self.head(self.norm(x))


def test_statistics_that_are_read_in_training_are_on_the_path():
    ends, module = ends_of(Kept), made(Kept, 0).double()
    ends[1]["norm.running_mean"] = torch.ones(3, dtype=torch.float64)
    path = Bezier(n_epochs=1)(ends, objective(module, rows()))
    for t, mean in zip(np.random.RandomState(0).uniform(size=6), module.seen, strict=True):
        torch.testing.assert_close(mean, path.at(t)["norm.running_mean"], rtol=0, atol=1e-12)


# ---- tensors that are equal in both ends ---------------------------------------------------------------------------


def perceptron():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def of_one_body(dtype=torch.float32):
    ends = [{k: v.to(dtype) for k, v in s.items()} for s in ends_of(perceptron)]
    return [ends[0], ends[1] | {k: ends[0][k].clone() for k in ("0.weight", "0.bias")}]


@kinds
def test_what_is_equal_in_both_ends_stays(kind):
    module, ends = made(perceptron, 0).double(), of_one_body(torch.float64)
    path = kind(n_epochs=3, n_bends=2, weight_decay=0.1)(ends, objective(module, rows()))
    for bend in path.controls[1:-1]:
        torch.testing.assert_close(bend["0.weight"], ends[0]["0.weight"], rtol=1e-15, atol=0)
        assert not torch.allclose(bend["2.weight"], (ends[0]["2.weight"] + ends[1]["2.weight"]) / 2, atol=1e-3)
    frozen = made(perceptron, 0).double()
    frozen[0].requires_grad_(False)
    expected = kind(n_epochs=3, n_bends=2, weight_decay=0.1)(ends, objective(frozen, rows()))
    for found, by_hand in zip(path.controls, expected.controls, strict=True):
        assert all(torch.equal(found[k], by_hand[k]) for k in by_hand)


def test_in_single_precision_it_stays_bit_for_bit():
    ends = of_one_body()
    batches = [Batch(b.x.float(), b.y) for b in rows()]
    path = Bezier(n_epochs=2, n_bends=3)(ends, objective(made(perceptron, 0), batches))
    for t in np.linspace(0, 1, 9):
        assert torch.equal(path.at(t)["0.weight"], ends[0]["0.weight"])


@kinds
def test_it_is_trained_where_ends_are(kind):
    module, ends = made(perceptron, 0).double(), of_one_body(torch.float64)
    path = kind(n_epochs=2, train_ends=True)(ends, objective(module, rows()))
    assert all(not torch.equal(c["0.weight"], ends[0]["0.weight"]) for c in path.controls)


@kinds
def test_equal_ends_are_joined_without_training(kind):
    def never(out, batch):
        raise AssertionError

    (a, _), module = ends_of(perceptron), made(perceptron, 0).double()
    data = ModuleObjective(module, rows, criterion=never)
    path = kind(n_epochs=5, n_bends=2)([a, {k: v.clone() for k, v in a.items()}], data)
    assert path.history == ()
    assert path.at(0.0) is a
    for t in (0.3, 0.5, 1.0):
        assert all(torch.allclose(path.at(t)[k], a[k], rtol=1e-14, atol=0) for k in a)
