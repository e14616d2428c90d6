"""Weights of rows beside weights of classes: what a network is trained by, and how fast."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch.callbacks import EarlyStopping
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch import nn

from skfusion import EnsembleClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds
from skfusion.nets import mlp_classifier, mlp_regressor

X, y = load_iris(return_X_y=True)
X, y = X[20:], y[20:]  # 30, 50 and 50 rows
X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
N = len(y)
UNLIKE = torch.tensor([8.0, 1.0, 0.5])
COUNTS = np.random.RandomState(0).randint(1, 4, size=N) * (1 + (y == 0))  # rows of the class that weighs most


def net(**params):
    """A linear classifier that starts from one state, by plain gradient descent."""
    given = {"optimizer": torch.optim.SGD, "lr": 0.2, "max_epochs": 5, "batch_size": N, "optimizer__weight_decay": 0.0}
    return mlp_classifier(**{**given, **params})


def trained(given, rows, task="classification"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Linear(4, 3 if task == "classification" else rows.y.shape[1])
    return nets.fit(nets.with_module(given, module), rows, 0)


def assert_alike(one, other, rtol=1e-4, atol=1e-6):
    a, b = nets.state_of(one), nets.state_of(other)
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=rtol, atol=atol)


def losses(fitted):
    return [row["train_loss"] for row in fitted.history]


@pytest.mark.parametrize("batch_size", [N, 32])
def test_weights_of_classes_that_are_all_alike_change_nothing(batch_size):
    rows = Rows(X, y, COUNTS / COUNTS.mean() + 0.01 * (y - y.mean()))
    plain = trained(net(batch_size=batch_size), rows)
    heavy = trained(net(batch_size=batch_size, criterion__weight=torch.full((3,), 10.0)), rows)
    assert_alike(plain, heavy)
    assert losses(plain) == pytest.approx(losses(heavy), rel=1e-5)


@pytest.mark.parametrize("batch_size", [N, 32])
def test_weights_of_rows_that_are_all_alike_change_nothing(batch_size):
    given = net(batch_size=batch_size, criterion__weight=UNLIKE)
    assert_alike(trained(given, Rows(X, y)), trained(given, Rows(X, y, np.ones(N))))


@pytest.mark.parametrize(
    "given", [{"criterion__weight": UNLIKE}, {"criterion__ignore_index": 2}, {}], ids=["weights", "ignored", "plain"]
)
def test_whole_number_weights_are_repetitions_in_a_batch_of_all_rows(given):
    index = np.repeat(np.arange(N), COUNTS)
    weighted = trained(net(**given), Rows(X, y, COUNTS / COUNTS.mean()))
    repeated = trained(net(**given, batch_size=len(index)), Rows(X[index], y[index]))
    assert_alike(weighted, repeated)
    assert losses(weighted) == pytest.approx(losses(repeated), rel=1e-5)


def test_losses_that_are_added_up_are_added_up_with_weights():
    weight = COUNTS / COUNTS.mean()
    given = net(criterion__reduction="sum", lr=0.2 / N)
    summed = trained(given, Rows(X, y, weight))
    assert_alike(summed, trained(net(), Rows(X, y, weight)))
    values = mlp_regressor(
        **{"optimizer": torch.optim.SGD, "lr": 1e-4, "max_epochs": 3, "batch_size": N, "criterion__reduction": "sum"},
        optimizer__weight_decay=0.0,
    )
    t = np.column_stack([X[:, 0], X[:, 1] ** 2]).astype(np.float32)
    assert_alike(trained(values, Rows(X, t), "regression"), trained(values, Rows(X, t, np.ones(N)), "regression"))


def test_the_loss_of_held_out_rows_is_the_criterions_own():
    given = net(criterion__weight=UNLIKE)
    fitted = trained(given, Rows(X, y, COUNTS / COUNTS.mean()))
    out = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
    target = torch.from_numpy(y)
    expected = nn.functional.cross_entropy(out, target, UNLIKE)
    assert fitted.get_loss(out, target, training=False) == pytest.approx(float(expected), rel=1e-6)
    assert fitted.criterion_.reduction == "mean"


def test_stacked_members_are_looped_members():
    weight = COUNTS / COUNTS.mean()
    given = net(batch_size=32, criterion__weight=UNLIKE, module__hidden=(6,))
    pools = [Seeds(3, vectorize=s).collect(given, X, y, random_state=0, sample_weight=weight) for s in (False, True)]
    for one, other in zip(*pools, strict=True):
        for key, value in one.state.items():
            torch.testing.assert_close(value, other.state[key], rtol=1e-4, atol=1e-5)


def test_bags_of_rows_with_both_weights_are_trained_one_by_one():
    weight = COUNTS / COUNTS.mean()
    given = net(batch_size=32, criterion__weight=UNLIKE, module__hidden=(6,))
    with pytest.warns(UserWarning, match="weights by themselves and by their classes"):
        stacked = Bootstrap(3, vectorize=True).collect(given, X, y, random_state=0, sample_weight=weight)
    looped = Bootstrap(3, vectorize=False).collect(given, X, y, random_state=0, sample_weight=weight)
    for one, other in zip(stacked, looped, strict=True):
        assert all(torch.equal(value, other.state[key]) for key, value in one.state.items())


# ---- validation ------------------------------------------------------------------------------------------------------


class LastRows:
    """A ``train_split`` that holds out every fourth row."""

    keeps_units = True
    held = np.arange(N) % 4 == 0

    def __call__(self, dataset, y=None, **_):
        return tuple(torch.utils.data.Subset(dataset, np.flatnonzero(part)) for part in (~self.held, self.held))


def validated(fitted, rows, weight, held=LastRows.held):
    """The mean of the losses of held-out rows, times their weights, computed by hand from the last state."""
    with torch.no_grad():
        out = fitted.module_(torch.from_numpy(rows.X[held]))
        losses = nn.functional.cross_entropy(out, torch.from_numpy(rows.y[held]), reduction="none").numpy()
    return float(np.mean(losses * weight[held]))


@pytest.mark.parametrize("batch_size", [N, 7])
@pytest.mark.parametrize("by", ["rows", "classes", "both"])
def test_the_loss_of_validation_is_weighted_as_that_of_training(by, batch_size):
    weight, by_class = COUNTS / COUNTS.mean(), np.array([2.0, 1.0, 0.25])
    rows = Rows(X, y, None if by == "classes" else weight, class_weight=None if by == "rows" else by_class)
    fitted = trained(net(train_split=LastRows(), batch_size=batch_size), rows)
    assert fitted.history[-1, "valid_loss"] == pytest.approx(validated(fitted, rows, rows.loss_weight), rel=1e-5)


def test_rows_of_another_dataset_have_no_weights_in_validation():
    other = Dataset(torch.from_numpy(X[LastRows.held]), torch.from_numpy(y[LastRows.held]))
    rows = Rows(X, y, COUNTS / COUNTS.mean())
    fitted = trained(net(train_split=predefined_split(other)), rows)
    assert fitted.history[-1, "valid_loss"] == pytest.approx(validated(fitted, rows, np.ones(N)), rel=1e-5)


@pytest.mark.parametrize("split", [LastRows(), ValidSplit(0.25, stratified=True, random_state=0)])
def test_stacked_members_validate_as_looped_members(split):
    weight = COUNTS / COUNTS.mean()
    given = net(batch_size=32, module__hidden=(6,), train_split=split)
    pools = [Seeds(3, vectorize=s).collect(given, X, y, random_state=0, sample_weight=weight) for s in (False, True)]
    for one, other in zip(*pools, strict=True):
        a, b = ([row["valid_loss"] for row in member.meta["history"]] for member in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("vectorize", [False, True])
def test_early_stopping_keeps_the_epoch_that_is_best_by_weights(vectorize):
    """Rows of the class that counts little get worse from some epoch on; without weights, they would end the training.

    The network learns that all rows are of the rare class: only in the loss by weights is that an improvement.
    """
    code = (np.arange(N) % 5 == 0).astype(np.int64)
    same = np.ones_like(X)
    given = net(train_split=LastRows(), callbacks=[("stop", EarlyStopping(patience=2, load_best=True))], max_epochs=12)
    given.set_params(module__hidden=(), lr=0.05)
    rare = {0: 1e-3, 1: 1.0}
    estimator = EnsembleClassifier(given, collect=Seeds(2, vectorize=vectorize), class_weight=rare, random_state=0).fit(
        same, code
    )
    for member in estimator.pool_:
        losses = [row["valid_loss"] for row in member.meta["history"]]
        assert len(losses) == 12
        assert losses == sorted(losses, reverse=True)
