"""Networks that learn from rows without labels too."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import KFold, StratifiedKFold, check_cv, cross_val_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from skorch import NeuralNetClassifier
from skorch.dataset import ValidSplit
from torch import nn
from torch.nn import functional as F

from skfusion import PiModelClassifier, TemporalEnsemblingClassifier, nets
from skfusion._rows import Rows
from skfusion.estimators.students._semi_supervised import spread
from skfusion.nets import Ensembled, Twice, mlp_classifier
from skfusion.nets.losses._consistency import _noised, ramp

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


def test_trial_points_of_an_optimiser_are_not_what_was_predicted():
    loss = Ensembled(0.0, 2, **common([1] * 4))
    p = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0))
    for trial in p[:2]:
        loss.targets(None, None, torch.arange(4), trial)
    loss.end_epoch()
    assert torch.equal(loss.targets(None, None, torch.arange(4), p[2])[0], p[0])


def test_labels_count_by_their_weight():
    weight = np.array([3.0, 1.0, 1.0, 1.0])
    assert Twice(**common([1, 0, 0, 0]), row_weight=weight).max_weight == pytest.approx(30 * 0.5)


@pytest.mark.parametrize("named", [False, True])
def test_the_spread_of_weighted_rows_is_that_of_repeated_ones(named):
    rng = np.random.default_rng(0)
    X, times = rng.normal(size=(20, 3, 2)), 1 + np.arange(20) % 3
    found, repeated = (
        spread({"x": Z} if named else Z, w, 0.5) for Z, w in [(X, times * 0.7), (X.repeat(times, axis=0), None)]
    )
    np.testing.assert_allclose(*((d["x"] if named else d) for d in (found, repeated)), rtol=1e-10)


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
    share = float((labelled * weight).sum() / weight.sum())
    layer = nn.Linear(X.shape[1], 3).double()
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    Z = torch.zeros(len(X), 3).double()
    for epoch in range(n_epochs):
        out = layer(X)
        p = out.softmax(1)
        total = 0
        w = 0.0 if epoch == 0 else max_weight * share * ramp(epoch, n_ramp)
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


def class_weighted(c, **params):
    return straight(criterion__weight=torch.tensor(c), **params)


@every_kind
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_of_classes_change_no_more_than_they_should(wine, kind, weighted):
    """Ten for all classes is one for all; others weigh labelled rows as torch's own mean does."""
    X, y, some = wine
    weight = np.linspace(0.5, 1.5, len(y)) if weighted else None
    model = kind(straight(max_epochs=3), max_weight=20.0, noise=0.0, random_state=0).fit(X, some, weight)
    tenfold = kind(class_weighted([10.0] * 3, max_epochs=3), max_weight=20.0, noise=0.0, random_state=0)
    tenfold.fit(X, some, weight)
    np.testing.assert_allclose(tenfold.state_["layer.weight"], model.state_["layer.weight"], rtol=1e-4, atol=1e-6)
    uneven = kind(class_weighted([1.0, 2.0, 5.0], max_epochs=1), noise=0.0).fit(X, some, weight)
    layer, known = nn.Linear(13, 3), some != -1
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    own = F.cross_entropy(layer(torch.tensor(X)), torch.tensor(y), torch.tensor([1.0, 2.0, 5.0]), reduction="none")
    w = torch.tensor(np.ones(len(y)) if weight is None else weight)[known]
    counts = torch.tensor([1.0, 2.0, 5.0])[y[known]]
    share = float(w.sum()) / (len(y) if weight is None else weight.sum())
    (share * (own[known] * w).sum() / (w * counts).sum()).backward()
    np.testing.assert_allclose(uneven.state_["layer.weight"], -0.5 * layer.weight.grad, rtol=1e-4, atol=1e-6)


@every_kind
def test_class_weights_without_consistency_are_ordinary_training(wine, kind):
    X, y, _ = wine
    net = small(criterion__weight=torch.tensor([1.0, 2.0, 5.0]), batch_size=32)
    model = kind(net, max_weight=0.0, noise=0.0, random_state=1).fit(X, y)
    rows, seed = Rows(X, y), int(np.random.RandomState(1).randint(2**31 - 1))
    alone = nets.state_of(nets.fit(nets.sized(net, rows, 3), rows, seed))
    for key, tensor in alone.items():
        np.testing.assert_allclose(model.state_[key], tensor, rtol=1e-3, atol=1e-5)


@every_kind
def test_a_batch_in_which_no_label_counts(wine, kind):
    """Some batches of four rows have no label, or only ones of the class that weighs nothing."""
    X, _, some = wine
    net = small(criterion__weight=torch.tensor([0.0, 1.0, 1.0]), batch_size=4)
    model = kind(net, random_state=0).fit(X, some)
    assert all(np.isfinite(row["train_loss"]) for row in model.history_)
    assert (model.predict(X) != 0).mean() > 0.9


@every_kind
def test_the_loss_of_a_row_without_a_label_is_not_asked_for(wine, kind):
    """The criterion is infinite for rows of its first code, which rows without a label have."""

    class Steep(nn.CrossEntropyLoss):
        def forward(self, z, y):
            steep = -(z[:, 0] * 0).log() * (y == 0)  # infinite, and so is its slope
            return super().forward(z, y) + (steep if (y == 0).any() else 0)

    X, _, some = wine
    some = np.where(some == 0, -1, some)
    net = small(criterion=Steep, classes=[0, 1, 2])
    model = kind(net, random_state=0).fit(X, some)
    assert all(np.isfinite(row["train_loss"]) for row in model.history_)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_an_optimiser_that_asks_for_the_loss_several_times_a_step(wine, momentum):
    """LBFGS, against its run by hand on targets that are the predictions before each step."""
    X, _, some = wine
    net = straight(max_epochs=4, optimizer=torch.optim.LBFGS, optimizer__max_iter=3, lr=0.1)
    options = {"momentum": momentum, "max_weight": 3.0, "ramp_up": 0.0, "noise": 0.0}
    model = TemporalEnsemblingClassifier(net, **options).fit(X, some)
    inputs, known, codes = torch.tensor(X), torch.tensor(some != -1), torch.tensor(np.maximum(some, 0))
    layer = nn.Linear(13, 3)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser, Z = torch.optim.LBFGS(layer.parameters(), lr=0.1, max_iter=3), torch.zeros(len(X), 3)
    for epoch in range(4):
        before = layer(inputs).softmax(1).detach()

        def closure(epoch=epoch, target=Z / (1 - momentum**epoch) if epoch else None):
            optimiser.zero_grad()
            out = layer(inputs)
            loss = F.cross_entropy(out[known], codes[known], reduction="sum") / len(X)
            if epoch:
                loss = loss + 3 * known.float().mean() * (out.softmax(1) - target).square().mean()
            loss.backward()
            return loss

        optimiser.step(closure)
        Z = momentum * Z + (1 - momentum) * before
    np.testing.assert_allclose(model.state_["layer.weight"], layer.weight.detach(), rtol=1e-4, atol=1e-5)


@every_kind
def test_fractional_weights_go_over_into_repetitions(wine, kind):
    """Three times the labels, and hardly more than three times: consistency and noise are to be the same."""
    X, _, some = wine
    seen = []

    class Spied(kind):
        def _consistency(self, **common):
            seen.append(super()._consistency(**common))
            return seen[-1]

    for labelled in (3, 3.0001):
        Spied(small(max_epochs=1), random_state=0).fit(X, some, np.where(some == -1, 1, labelled))
    assert seen[1].max_weight == pytest.approx(seen[0].max_weight, rel=1e-4)
    np.testing.assert_allclose(seen[1].noise, seen[0].noise, rtol=1e-4)


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
    alone = nets.state_of(nets.fit(nets.sized(small(), rows, 3), rows, seed))
    for key, tensor in alone.items():
        np.testing.assert_allclose(model.state_[key], tensor, rtol=1e-3, atol=1e-5)


@every_kind
@pytest.mark.parametrize("c", [None, [1.0, 9.0, 3.0]], ids=["no", "some"])
def test_without_consistency_weights_of_rows_and_classes_are_those_of_ordinary_training(wine, kind, c):
    """In batches whose weights are unlike those of all rows, bit for bit."""
    X, y, _ = wine
    weight = np.where(np.arange(len(y)) % 5 < 2, 0.1, 1.9) + (y == 2)
    net = straight(max_epochs=3, batch_size=8, lr=0.05, criterion__weight=None if c is None else torch.tensor(c))
    model = kind(net, max_weight=0.0, noise=0.0, random_state=1).fit(X, y, weight)
    rows, seed = Rows(X, y, weight).expanded(), int(np.random.RandomState(1).randint(2**31 - 1))
    alone = nets.state_of(nets.fit(nets.sized(net, rows, 3), rows, seed))
    for key, tensor in alone.items():
        assert torch.equal(tensor, model.state_[key]), key


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "kind", [TemporalEnsemblingClassifier, pytest.param(PiModelClassifier, marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore:All labels are -1 or 1:UserWarning")
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
    signs = np.where(y == 0, -1, 1)
    with pytest.warns(UserWarning, match=r"-1 or 1, which are taken for two classes.*classes=\[0, 1\]"):
        model = kind(small(max_epochs=30), random_state=0).fit(X, signs)
    assert model.classes_.tolist() == [-1, 1]
    assert model.score(X, signs) > 0.9
    named = kind(small(max_epochs=30, classes=[-1, 1]), random_state=0).fit(X, signs)
    np.testing.assert_array_equal(named.predict_proba(X), model.predict_proba(X))


@every_kind
def test_labels_of_one_class(wine, kind):
    """With rows that have no label it is refused, as one fold of few labels may be; without them it is no question."""
    X, _, some = wine
    for label in (0, 2, "red"):
        ones = np.where(some == 0, label, -1).astype(int) if label != "red" else np.where(some == 0, label, None)
        ones[some != 0] = -1
        with pytest.raises(ValueError, match=rf"All labelled rows are of the class {label!r}.*classes=\[0, 1\]"):
            kind(small(), random_state=0).fit(X, ones)
    full = kind(small(), random_state=0)
    assert full.fit(X, np.ones(len(X))).classes_.tolist() == [1]
    assert full.fit(X, np.where(some == 0, 1, -1), (some == 0).astype(float)).classes_.tolist() == [1]
    named = kind(small(classes=[0, 1, 2], max_epochs=30), random_state=0).fit(X, np.where(some == 1, 1, -1))
    assert named.classes_.tolist() == [0, 1, 2]
    assert (named.predict(X) == 1).all()


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
    words = np.array(["red", "rosé", "white"], object)[y]
    words[some == -1] = "-1"
    for given in (
        words,
        [*words],
        pd.Series(words),
        pd.Series(words, dtype="string"),
        pd.Series(words, dtype="category"),
    ):
        with pytest.raises(ValueError, match="has the string '-1'.*give y as an array of objects"):
            kind(small()).fit(X, given)
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


@every_kind
@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, "float"], ids=["none", "nan", "na", "float"])
def test_labels_that_are_missing(wine, kind, gap):
    X, y, some = wine
    if isinstance(gap, str):
        given = pd.Series(np.where(some == -1, np.nan, some))
    else:
        given = pd.Series(np.array(["red", "rosé", "white"], object)[y])
        given[some == -1] = gap
    with pytest.raises(ValueError, match=r"y contains NaN or None in 118 rows.*y.astype\(object\).fillna\(-1\)"):
        kind(small()).fit(X, given)
    assert len(kind(small(), random_state=0).fit(X, given.astype(object).fillna(-1)).classes_) == 3


# ---- judging -------------------------------------------------------------------------------------


@every_kind
def test_only_rows_with_labels_are_judged(wine, kind):
    X, y, some = wine
    model = kind(small(max_epochs=20), random_state=0).fit(X, some)
    known = some != -1
    assert model.score(X, some) == pytest.approx((model.predict(X)[known] == y[known]).mean())
    weight = np.arange(len(y)) * 1.0
    right = model.predict(X)[known] == y[known]
    assert model.score(X, some, weight) == pytest.approx(np.average(right, weights=weight[known]))
    with pytest.raises(ValueError, match="No row has a label to judge by: y is -1 in all 118 rows"):
        model.score(X[~known], some[~known])
    with pytest.raises(ValueError, match="No row has a label to judge by"):
        model.score(X, some, (~known).astype(float))
    words = np.array(["red", "rosé", "white"], object)[y]
    named = kind(small(max_epochs=20), random_state=0).fit(X, np.where(known, words, -1))
    assert named.score(X, np.where(known, words, -1)) == model.score(X, some)
    assert named.score(X, words.astype(str)) == model.score(X, y)


@every_kind
def test_where_minus_one_is_a_class_it_is_judged(wine, kind):
    X, y, _ = wine
    model = kind(small(classes=[-1, 0, 1], max_epochs=20), random_state=0).fit(X, y - 1)
    assert model.score(X, y - 1) == pytest.approx((model.predict(X) == y - 1).mean())


def test_cross_validation_judges_labelled_rows(wine):
    X, _, some = wine
    model = TemporalEnsemblingClassifier(small(max_epochs=40), random_state=0)
    assert cross_val_score(model, X, some, cv=StratifiedKFold(3)).mean() > 0.85


def test_folds_of_words_are_stratified_by_codes(wine):
    X, _, some = wine
    words = np.array([-1 if label == -1 else f"class {label}" for label in some], dtype=object)
    model = TemporalEnsemblingClassifier(small(max_epochs=3), random_state=0)
    by_number = cross_val_score(model, X, some, cv=3)
    assert np.array_equal(cross_val_score(model, X, words, cv=StratifiedKFold(3).split(X, some)), by_number)
    assert isinstance(check_cv(3, some, classifier=True), StratifiedKFold)  # what the docstring tells of
    assert type(check_cv(3, np.array([-1, "b", "a"], dtype=object), classifier=True)) is KFold
    with pytest.raises(TypeError):
        check_cv(3, np.array(["b", -1, "a"], dtype=object), classifier=True)
