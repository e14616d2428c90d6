"""Mini-batches as a net would be trained on them."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.connect import Bezier
from skfusion.nets import Runner, mlp_classifier
from skfusion.nets._judge import Epochs

RNG = np.random.RandomState(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
ROWS = Rows(X, (X[:, 0] > X[:, 1]).astype(np.int64))


def net(**params):
    given = {"max_epochs": 1, "batch_size": 16, "module__hidden": (4,), "train_split": None, **params}
    return nets.sized(mlp_classifier(**given), ROWS, 2)


def epoch(epochs, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return list(epochs())


def inputs(batches):
    return torch.cat([b.x for b in batches])


class Spying(NeuralNetClassifier):
    """Remembers the batches of its training steps."""

    seen: list = []  # noqa: RUF012

    def train_step(self, batch, **fit_params):
        self.seen.append(batch)
        return super().train_step(batch, **fit_params)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_cut_as_in_the_nets_own_training(monkeypatch, shuffle):
    monkeypatch.setattr(Spying, "seen", [])
    own = Spying(nn.Linear(3, 2), criterion=nn.CrossEntropyLoss, batch_size=16, max_epochs=1, verbose=0)
    own.set_params(iterator_train__shuffle=shuffle, iterator_train__drop_last=True)
    nets.fit(own, ROWS, 0)
    found = epoch(Epochs(own, ROWS, "classification"))
    assert [len(x) for x, _ in Spying.seen] == [len(b.x) for b in found] == [16, 16]
    if not shuffle:
        for (x, y), batch in zip(Spying.seen, found, strict=True):
            assert torch.equal(x, batch.x)
            assert torch.equal(y, batch.y)


def test_an_epoch_has_every_row_once_with_its_target():
    found = epoch(Epochs(net(), ROWS, "classification"))
    assert [len(b.x) for b in found] == [16, 16, 16, 2]
    order = [int(np.flatnonzero((x == ROWS.X).all(axis=1))[0]) for x in inputs(found).numpy()]
    assert sorted(order) == list(range(50))
    assert order != sorted(order)
    assert torch.cat([b.y for b in found]).tolist() == ROWS.y[order].tolist()
    assert all(b.weight is None for b in found)


def test_weights_of_rows_are_their_own_beside_weights_of_classes():
    rows = Rows(X, ROWS.y, np.random.RandomState(1).uniform(0.5, 2, size=50).astype(np.float32))
    found = epoch(Epochs(net(criterion__weight=torch.tensor([1.0, 3.0])), rows, "classification"))
    order = [int(np.flatnonzero((x == X).all(axis=1))[0]) for x in inputs(found).numpy()]
    ratio = torch.cat([b.weight for b in found]).numpy() / rows.weight[order]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_order_is_drawn_from_the_global_generator_also_in_the_first_epoch():
    epochs = Epochs(net(), ROWS, "classification")
    first, again, other = (inputs(epoch(epochs, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(inputs(epoch(Epochs(net(), ROWS, "classification"), 0)), first)


def test_the_split_of_the_net_holds():
    epochs = Epochs(net(train_split=ValidSplit(5, stratified=True)), ROWS, "classification")
    first, other = (inputs(epoch(epochs, seed)) for seed in (0, 1))
    assert len(first) == 40
    assert {tuple(r) for r in first.tolist()} == {tuple(r) for r in other.tolist()}


def test_a_net_that_does_not_shuffle_has_its_rows_in_order():
    found = epoch(Epochs(net(iterator_train__shuffle=False), ROWS, "classification"))
    assert torch.equal(inputs(found), torch.from_numpy(ROWS.X))


def test_weights_go_with_their_rows():
    weight = np.linspace(0.5, 1.5, 50)
    found = epoch(Epochs(net(), Rows(ROWS.X, ROWS.y, weight), "classification"))
    order = [int(np.flatnonzero((x == ROWS.X).all(axis=1))[0]) for x in inputs(found).numpy()]
    np.testing.assert_allclose(torch.cat([b.weight for b in found]).numpy(), weight[order], rtol=1e-6)


def test_a_single_row_left_over_joins_its_neighbour_where_there_is_batch_norm():
    rows = ROWS.take(np.arange(33))
    plain, normed = (epoch(Epochs(net(module__norm=norm), rows, "classification")) for norm in (None, "batch"))
    assert [len(b.x) for b in plain] == [16, 16, 1]
    assert [len(b.x) for b in normed] == [16, 17]


def test_a_net_with_a_loader_of_its_own_keeps_it():
    class Reversed(torch.utils.data.DataLoader):
        def __iter__(self):
            return iter(list(super().__iter__())[::-1])

    given = NeuralNetClassifier(nn.Linear(3, 2), criterion=nn.CrossEntropyLoss, batch_size=16, train_split=None)
    given.set_params(iterator_train=Reversed, verbose=0)
    found = epoch(Epochs(given, ROWS, "classification"))
    assert torch.equal(inputs(found[::-1]), torch.from_numpy(ROWS.X))
    with pytest.raises(ValueError, match="iterator_train"):
        epoch(Epochs(given, Rows(ROWS.X, ROWS.y, np.linspace(0.5, 1.5, 50)), "classification"))


def test_dicts_and_double_precision():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2).double()

        def forward(self, a, b):
            return self.layer(torch.cat([a, b], 1))

    rows = Rows({"a": ROWS.X[:, :1], "b": ROWS.X[:, 1:]}, ROWS.y)
    given = NeuralNetClassifier(Named, criterion=nn.CrossEntropyLoss, batch_size=16, train_split=None, verbose=0)
    found = epoch(Epochs(given, rows, "classification"))
    assert sum(len(b.x["a"]) for b in found) == 50
    assert {v.dtype for b in found for v in b.x.values()} == {torch.float64}


def test_the_net_is_not_changed(untouched_rng):
    given = net()
    before = repr(given.get_params(deep=False))
    epochs = Epochs(given, ROWS, "classification")
    epoch(epochs)
    assert repr(given.get_params(deep=False)) == before
    assert not hasattr(given, "module_")


def test_training_twice_with_a_generator_of_the_user_is_the_same():
    own = torch.Generator().manual_seed(3)
    before = own.get_state()
    given = net(iterator_train__generator=own)
    run = Runner(given, "classification", ROWS)
    data = nets.Judge(run, ROWS, ROWS)
    ends = [{k: v + 0.1 * i for k, v in run.module.state_dict().items()} for i in range(2)]
    first, again = (Bezier(n_epochs=2)(ends, data).controls[1] for _ in range(2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert torch.equal(own.get_state(), before)
    one, other = (epoch(data.training, seed) for seed in (0, 1))
    assert not torch.equal(inputs(one), inputs(other))
