"""Networks that learn from rows without labels too."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from skorch import NeuralNetClassifier
from skorch.dataset import ValidSplit
from torch import nn
from torch.nn import functional as F

from skfusion import PiModelClassifier, TemporalEnsemblingClassifier, nets
from skfusion.nets import Ensembled, Twice, mlp_classifier
from skfusion.nets._consistency import _noised, ramp
from skfusion.rows import Rows

KINDS = {"temporal": TemporalEnsemblingClassifier, "pi": PiModelClassifier}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def small(**params):
    return mlp_classifier(**{"module__hidden": (8,), "max_epochs": 6, "lr": 0.02, **params})


class Line(nn.Module):
    """One linear layer, which starts at zero."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, X):
        return self.layer(X)


def straight(**params):
    """A linear net that takes steps of plain gradient descent on all rows at once."""
    options = {"batch_size": -1, "train_split": None, "verbose": 0, "optimizer": torch.optim.SGD, "lr": 0.5}
    return NeuralNetClassifier(Line, **{**options, "criterion": nn.CrossEntropyLoss, **params})


@pytest.fixture(scope="module")
def wine():
    """Inputs, labels, and the labels with two of three unknown."""
    X, y = load_wine(return_X_y=True)
    some = np.where(np.arange(len(y)) % 3 == 0, y, -1)
    return StandardScaler().fit_transform(X).astype(np.float32), y, some


# ---- targets and weights -------------------------------------------------------------------------


def common(labelled, **params):
    return {"labelled": np.array(labelled, bool), "max_weight": 30.0, "n_ramp": 8.0, "noise": np.zeros(1), **params}


def test_the_weight_grows_from_nothing():
    found = [ramp(t, 8) for t in range(12)]
    assert found[0] == 0
    assert found[1:8] == pytest.approx([math.exp(-5 * (1 - t / 8) ** 2) for t in range(1, 8)])
    assert found[8:] == [1.0] * 4
    assert found == sorted(found)
    assert [ramp(t, 0) for t in range(3)] == [0, 1, 1]
    loss = Twice(**common([1, 0, 0, 1, 1]))
    weights = []
    for _ in range(10):
        weights.append(loss.weight())
        loss.end_epoch()
    assert weights == pytest.approx([30 * 0.6 * ramp(t, 8) for t in range(10)])


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.99])
def test_a_constant_prediction_is_its_own_target_in_every_epoch(momentum):
    loss = Ensembled(momentum, 3, **common([1] * 5))
    p = torch.tensor([0.2, 0.5, 0.3]).expand(5, 3)
    for epoch in range(6):
        targets, known = loss.targets(None, None, torch.arange(5), p)
        assert known.tolist() == [float(epoch > 0)] * 5
        if epoch:
            np.testing.assert_allclose(targets, p, rtol=1e-4)
        loss.end_epoch()


def test_without_memory_the_target_is_what_the_last_epoch_predicted():
    loss = Ensembled(0.0, 2, **common([1] * 4))
    before = None
    for epoch in range(4):
        p = torch.rand(4, 2, generator=torch.Generator().manual_seed(epoch))
        targets, _ = loss.targets(None, None, torch.arange(4), p)
        if before is not None:
            assert torch.equal(targets, before)
        before = p
        loss.end_epoch()


def test_targets_follow_their_rows_through_any_order():
    """Rows come shuffled, in batches, and some not in every epoch; against a loop over rows."""
    rng, momentum, n = np.random.default_rng(0), 0.7, 11
    loss = Ensembled(momentum, 3, **common([1] * n))
    z, count = np.zeros((n, 3)), np.zeros(n, int)
    for _ in range(6):
        order, p = rng.permutation(n)[:9], rng.dirichlet(np.ones(3), size=n)
        for rows in (order[:4], order[4:]):
            targets, known = loss.targets(None, None, torch.tensor(rows), torch.tensor(p[rows]).float())
            np.testing.assert_array_equal(known, count[rows] > 0)
            for row, target in zip(rows, targets.numpy(), strict=True):
                if count[row]:
                    np.testing.assert_allclose(target, z[row] / (1 - momentum ** count[row]), rtol=1e-5)
        for row in order:
            z[row] = momentum * z[row] + (1 - momentum) * p[row]
            count[row] += 1
        loss.end_epoch()


def test_noise_has_the_spread_that_was_asked_for():
    torch.manual_seed(0)
    found = _noised(torch.zeros(20000, 2), np.array([0.5, 3.0]))
    np.testing.assert_allclose(found.std(0), [0.5, 3.0], rtol=0.02)
    whole = torch.zeros(5, 2, dtype=torch.int64)
    assert _noised(whole, np.ones(2)) is whole


# ---- training ------------------------------------------------------------------------------------


def by_hand(X, y, n_epochs, momentum, max_weight, n_ramp, weight):
    """Gradient descent on the loss of Laine and Aila by a linear net that starts at zero, without noise."""
    X, codes = torch.tensor(X).double(), torch.tensor(np.maximum(y, 0))
    labelled, weight = torch.tensor(y != -1), torch.tensor(weight)
    layer = nn.Linear(X.shape[1], 3).double()
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    Z = torch.zeros(len(X), 3).double()
    for epoch in range(n_epochs):
        out = layer(X)
        p = out.softmax(1)
        total = 0
        w = 0.0 if epoch == 0 else max_weight * float(labelled.double().mean()) * ramp(epoch, n_ramp)
        for i in range(len(X)):
            if labelled[i]:
                total = total + weight[i] * F.cross_entropy(out[i], codes[i])
            if epoch:
                total = total + weight[i] * w * ((p[i] - Z[i] / (1 - momentum**epoch)) ** 2).sum() / 3
        slope, shift = torch.autograd.grad(total / len(X), [layer.weight, layer.bias])
        with torch.no_grad():
            Z = momentum * Z + (1 - momentum) * p
            layer.weight -= 0.5 * slope
            layer.bias -= 0.5 * shift
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


@pytest.mark.parametrize("n_epochs", [1, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("max_weight", [0.0, 40.0])
def test_steps_are_those_of_the_formula(wine, n_epochs, weighted, max_weight):
    X, _, some = wine
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(X)) if weighted else np.ones(len(X))
    model = TemporalEnsemblingClassifier(straight(max_epochs=n_epochs), max_weight=max_weight, ramp_up=0.5, noise=0.0)
    model.fit(X, some, weight if weighted else None)
    slopes, shifts = by_hand(X, some, n_epochs, 0.6, max_weight, n_epochs / 2, weight / weight.mean())
    np.testing.assert_allclose(model.state_["layer.weight"], slopes, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(model.state_["layer.bias"], shifts, rtol=1e-3, atol=1e-6)


def test_two_passes_without_noise_say_the_same(wine):
    X, _, some = wine
    models = [PiModelClassifier(small(), max_weight=w, noise=0.0, random_state=0).fit(X, some) for w in (0.0, 100.0)]
    np.testing.assert_allclose(*(m.predict_proba(X) for m in models), rtol=1e-5)


@pytest.mark.parametrize("source", ["noise", "dropout"])
def test_two_passes_under_noise_do_not(wine, source):
    X, _, some = wine
    net, noise = (small(), 0.3) if source == "noise" else (small(module__dropout=0.3), 0.0)
    models = [PiModelClassifier(net, max_weight=w, noise=noise, random_state=0).fit(X, some) for w in (0.0, 100.0)]
    assert abs(models[0].predict_proba(X) - models[1].predict_proba(X)).max() > 1e-3


@every_kind
def test_without_consistency_and_noise_it_is_ordinary_training(wine, kind):
    X, y, _ = wine
    model = kind(small(), max_weight=0.0, noise=0.0, random_state=1).fit(X, y)
    rows = Rows(X, y)
    seed = int(np.random.RandomState(1).randint(2**31 - 1))
    alone = nets.state_of(nets.fit(nets.sized(small(), rows, "classification", 3), rows, "classification", seed))
    for key, tensor in alone.items():
        np.testing.assert_allclose(model.state_[key], tensor, rtol=1e-3, atol=1e-5)


def test_unlabelled_rows_help():
    """Digits with 5 labels a class, in three splits."""
    X, y = load_digits(return_X_y=True)
    scores = {0.0: [], 30.0: []}
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:1297], order[1297:]
        few = np.concatenate([train[y[train] == c][:5] for c in range(10)])
        some = np.full(len(y), -1)
        some[few] = y[few]
        for weight, found in scores.items():
            net = mlp_classifier(max_epochs=200, batch_size=512)
            model = TemporalEnsemblingClassifier(net, max_weight=weight, random_state=seed)
            found.append(model.fit(X[train], some[train]).score(X[test], y[test]))
    assert np.mean(scores[30.0]) > np.mean(scores[0.0]) + 0.02


@every_kind
def test_labels_that_are_unknown_are_not_read(wine, kind):
    """Only where they stand counts: rows of weight zero are as good as absent, whatever label they have."""
    X, y, some = wine
    model = kind(small(), random_state=0).fit(X, some)
    assert model.classes_.tolist() == [0, 1, 2]
    extra = np.concatenate([some, [0, 1]])
    weight = np.concatenate([np.ones(len(y)), [0, 0]])
    again = kind(small(), random_state=0).fit(np.concatenate([X, X[:2] + 9]), extra, weight)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@every_kind
def test_whole_weights_are_repetitions_bit_for_bit(wine, kind):
    X, _, some = wine
    times = 1 + np.arange(len(some)) % 2
    weighed = kind(small(), random_state=0).fit(X, some, times)
    repeated = kind(small(), random_state=0).fit(X.repeat(times, axis=0), some.repeat(times))
    np.testing.assert_array_equal(weighed.predict_proba(X), repeated.predict_proba(X))


@every_kind
def test_named_inputs(wine, kind):
    class Two(nn.Module):
        def __init__(self, n_out=2):
            super().__init__()
            self.layer, self.embedding = nn.Linear(13, n_out), nn.Embedding(2, n_out)

        def forward(self, a, b):
            return self.layer(a) + self.embedding(b)

    X, y, some = wine
    named = {"a": X, "b": (X[:, 0] > 0).astype(int)}
    net = NeuralNetClassifier(Two, train_split=None, verbose=0, max_epochs=40, criterion=nn.CrossEntropyLoss, lr=0.3)
    assert kind(net, random_state=0).fit(named, some).score(named, y) > 0.9


@every_kind
def test_it_pickles(wine, kind):
    X, _, some = wine
    model = kind(small(), random_state=0).fit(X, some)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_allclose(model.estimator_.predict_proba(X), model.predict_proba(X), atol=1e-6)
    assert len(model.history_) == 6


@every_kind
def test_it_keeps_to_scikit_learn(kind):
    check_estimator(kind(small(max_epochs=20)), on_fail="raise", on_skip=None)


# ---- labels --------------------------------------------------------------------------------------


@every_kind
def test_words_and_minus_one(wine, kind):
    X, y, some = wine
    words = np.array(["red", "rosé", "white"], object)[y]
    words[some == -1] = -1
    model = kind(small(max_epochs=20), random_state=0).fit(X, words)
    assert model.classes_.tolist() == ["red", "rosé", "white"]
    assert {*model.predict(X).tolist()} <= {"red", "rosé", "white"}
    numbers = kind(small(max_epochs=20), random_state=0).fit(X, some)
    np.testing.assert_array_equal(numbers.predict_proba(X), model.predict_proba(X))


@every_kind
def test_minus_one_and_one_are_classes(wine, kind):
    X, y, _ = wine
    model = kind(small(max_epochs=30), random_state=0).fit(X, np.where(y == 0, -1, 1))
    assert model.classes_.tolist() == [-1, 1]
    assert model.score(X, np.where(y == 0, -1, 1)) > 0.9


@every_kind
def test_a_net_that_names_its_classes_tells_what_minus_one_is(wine, kind):
    X, y, some = wine
    ones = np.where(some == 0, -1, np.where(some == -1, -1, 1))
    assert kind(small(classes=[0, 1]), random_state=0).fit(X, ones).classes_.tolist() == [0, 1]
    signs = y - 1
    assert kind(small(classes=[-1, 0, 1]), random_state=0).fit(X, signs).classes_.tolist() == [-1, 0, 1]


@every_kind
def test_labels_that_make_no_sense(wine, kind):
    X, y, some = wine
    with pytest.raises(ValueError, match="No row has a label: y is -1 everywhere"):
        kind(small()).fit(X, np.full(len(X), -1))
    with pytest.raises(ValueError, match="No row has a label"):
        kind(small()).fit(X, some, (some == -1).astype(float))
    with pytest.raises(ValueError, match="give y as an array of objects"):
        kind(small()).fit(X, some.astype(str))
    with pytest.raises(ValueError, match="1d array"):
        kind(small()).fit(X, np.eye(3, dtype=int)[y])
    net = small(train_split=ValidSplit(5))
    with pytest.raises(ValueError, match=r"118 of 178 have no label: give it train_split=None"):
        kind(net).fit(X, some)
    assert "valid_loss" in kind(net).fit(X, y).history_[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"momentum": 1.0}, "momentum must be at least 0 and less than 1"),
        ({"max_weight": -1}, "max_weight must be a number of at least 0"),
        ({"ramp_up": "long"}, "ramp_up must be a number"),
        ({"noise": np.inf}, "noise must be a number"),
    ],
)
def test_parameters_that_make_no_sense(wine, params, message):
    with pytest.raises(ValueError, match=message):
        TemporalEnsemblingClassifier(small(), **params).fit(wine[0], wine[2])
