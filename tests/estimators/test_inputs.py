"""Inputs, targets, nets and weights of every kind that users bring."""

import copy

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils import shuffle
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EarlyStopping, EpochScoring
from skorch.helper import SliceDict
from small_nets import small_nets
from torch import nn

from skfusion import EnsembleClassifier, EnsembleRegressor, SoupClassifier, SoupRegressor
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds, Snapshots, Tail
from skfusion.combine import Stack
from skfusion.data import folds
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.pool import ModelPool
from skfusion.select import TopK

X, y = load_iris(return_X_y=True)
MIXED = shuffle(X, y, random_state=0)
QUIET = {"verbose": 0, "train_split": None, "iterator_train__shuffle": True}


net, regressor = small_nets(max_epochs=3, module__hidden=(8,), lr=0.02)


def soup(estimator=None, **params):
    return SoupClassifier(estimator or net(), **{"collect": Seeds(2), "random_state": 0, **params})


# ---- inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "uint8", "int64", "bool", ">f8"])
def test_real_dtypes(dtype):
    given = np.round(X).astype(dtype)
    same = np.round(X).astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(soup().fit(given, y).predict_proba(given), soup().fit(same, y).predict_proba(same))


def test_lists_frames_and_strides():
    expected = soup().fit(X, y).predict_proba(X)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    fitted = soup().fit(frame, pd.Series(y, index=np.arange(150)[::-1]))
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert fitted.n_features_in_ == 4
    np.testing.assert_array_equal(fitted.predict_proba(frame), expected)
    np.testing.assert_array_equal(soup().fit(X.tolist(), y.tolist()).predict_proba(X.tolist()), expected)
    turned = soup().fit(np.asfortranarray(X), y).predict_proba(X[::-1])[::-1]
    np.testing.assert_allclose(turned, expected, atol=1e-6)  # a row's rounding may depend on its place
    np.testing.assert_array_equal(soup().fit(frame.astype("Float64"), y).predict_proba(frame), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[["b", "a", "c", "d"]])


class Convolution(nn.Module):
    def __init__(self, n_out=2):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(16, n_out)

    def forward(self, X):
        return self.head(self.features(X).flatten(1))


def test_images_and_batch_norm():
    images, digits = load_digits(return_X_y=True)
    images, digits = images[:200].reshape(-1, 1, 8, 8).astype(np.uint8), digits[:200]
    cnn = NeuralNetClassifier(Convolution, criterion=nn.CrossEntropyLoss, max_epochs=4, lr=0.1, **QUIET)
    for merge in (Uniform(), None):
        fitted = SoupClassifier(cnn, collect=Tail(0.5), merge=merge, random_state=0).fit(images, digits)
        assert fitted.predict_proba(images).shape == (200, 10)
    mean = fitted.set_params(merge=Uniform()).fit(images, digits)
    pixels = torch.from_numpy(images.astype(np.float32))
    with torch.no_grad():
        seen = mean.estimator_.module_.features[0](pixels)
    np.testing.assert_allclose(mean.state_["features.1.running_mean"], seen.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean.state_["features.1.running_var"], seen.var((0, 2, 3)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 7\), but had shape \(1, 8, 8\)"):
        mean.predict(images[..., :7])


class Two(nn.Module):
    """A table of numbers and one of words."""

    def __init__(self, n_out=2):
        super().__init__()
        self.words = nn.Embedding(10, 3)
        self.head = nn.Linear(4 + 3, n_out)

    def forward(self, numbers, word):
        assert word.dtype == torch.int64
        assert numbers.dtype == torch.float32
        return self.head(torch.cat([numbers, self.words(word)], 1))


@pytest.mark.parametrize("estimator", [SoupClassifier, EnsembleClassifier])
def test_dicts_of_inputs(estimator):
    inputs = {"numbers": X, "word": (y + np.arange(150) % 2).astype(np.int32)}
    two = NeuralNetClassifier(Two, criterion=nn.CrossEntropyLoss, max_epochs=3, **QUIET)
    fitted = estimator(two, collect=Seeds(2), random_state=0).fit(inputs, np.array(["a", "b", "c"])[y])
    assert fitted.predict(inputs).shape == (150,)
    assert fitted.score(inputs, np.array(["a", "b", "c"])[y]) > 0.3
    with pytest.raises(ValueError, match="must be a dict with the inputs"):
        fitted.predict(X)
    with pytest.raises(ValueError, match="sample shapes"):
        fitted.predict({"numbers": X})
    with pytest.raises(ValueError, match="requires y"):
        estimator(two).fit(inputs, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator(two).fit({"numbers": X, "word": inputs["word"][:-1]}, y)


def test_a_net_that_cannot_be_sized_is_asked_for(tmp_path):
    inputs = {"numbers": X, "word": y + 1}
    two = NeuralNetClassifier(Two, criterion=nn.CrossEntropyLoss, max_epochs=1, **QUIET)
    SoupClassifier(two, collect=Seeds(2), merge=Uniform(), random_state=0).fit(inputs, y).pool_.save(tmp_path / "pool")
    pool = ModelPool.load(tmp_path / "pool")
    for collect in (pool, Seeds(2)):
        with pytest.raises(ValueError, match=r"asks for n_in.*estimator= a net .* inputs \['numbers', 'word'\]"):
            SoupClassifier(collect=collect).fit(inputs, y)
    assert SoupClassifier(two, collect=pool, merge=Uniform()).fit(inputs, y).predict(inputs).shape == (150,)
    one = SoupClassifier(net(module__n_in=4), collect=Seeds(2), merge=Uniform(), random_state=0)
    assert one.fit({"X": X}, y).predict({"X": X}).shape == (150,)


# ---- targets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels", [["a", "bb", "c"], [-7, 5, 3], [0, 1, 2], [10.0, 20.0, 30.0], [True, False, False]], ids=str
)
@pytest.mark.parametrize("estimator", [SoupClassifier, EnsembleClassifier])
def test_labels(estimator, labels):
    given = np.array(labels)[y]
    fitted = estimator(net(max_epochs=20), collect=Seeds(2), random_state=0).fit(X, given)
    assert fitted.classes_.tolist() == sorted(set(labels))
    assert fitted.predict(X).dtype == given.dtype
    assert fitted.score(X, given) > 0.8


@pytest.mark.parametrize("kind", ["category", "str", "object", "Int64"])
def test_pandas_labels(kind):
    labels = y if kind == "Int64" else np.array(["a", "b", "c"])[y]
    fitted = soup(net(max_epochs=20)).fit(X, pd.Series(labels).astype(kind))
    assert (fitted.predict(X) == labels).mean() > 0.8


class One(nn.Module):
    """One number a row, with or without an axis of its own."""

    def __init__(self, flat):
        super().__init__()
        self.flat, self.layers = flat, nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, X):
        out = self.layers(X)
        return out[:, 0] if self.flat else out


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("kind", [NeuralNetBinaryClassifier, NeuralNetClassifier])
def test_binary_nets(kind, flat):
    labels = np.array(["no", "yes"])[(y > 0).astype(int)]
    one = kind(One, module__flat=flat, criterion=nn.BCEWithLogitsLoss, max_epochs=10, lr=0.2, **QUIET)
    for estimator in (soup(one), EnsembleClassifier(one, collect=Seeds(2), combine=Stack(), cv=2, random_state=0)):
        fitted = estimator.fit(X, labels)
        proba = fitted.predict_proba(X)
        assert proba.shape == (150, 2)
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
        assert fitted.score(X, labels) > 0.9
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        soup(one).fit(X, y)


def test_binary_targets_with_a_multilabel_net():
    fitted = soup(net(multilabel=True, max_epochs=20)).fit(X, y > 0)
    assert fitted.score(X, y > 0) > 0.9


class Softmax(nn.Module):
    def __init__(self, n_in=1, n_out=1):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, n_out), nn.Softmax(-1))

    def forward(self, X):
        return self.layers(X)


def test_softmax_net_with_skorchs_default_loss():
    plain = NeuralNetClassifier(Softmax, max_epochs=30, lr=0.1, **QUIET)
    fitted = soup(plain, merge=Uniform(), collect=Tail()).fit(X, y)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        fitted.estimator_.predict_proba(X.astype(np.float32)), fitted.predict_proba(X), rtol=1e-5
    )
    assert fitted.score(X, y) > 0.6


def test_multilabel():
    X, y = MIXED
    labels = np.stack([y == 0, y == 1, X[:, 0] > 5.8], axis=1).astype(int)
    for estimator in (
        SoupClassifier(collect=Seeds(2), random_state=0),
        EnsembleClassifier(net(multilabel=True, max_epochs=20), collect=Seeds(2), random_state=0),
        EnsembleClassifier(
            net(multilabel=True, max_epochs=20), collect=Seeds(2), combine=Stack(), cv=2, random_state=0
        ),
    ):
        fitted = estimator.fit(X, labels)
        assert fitted.predict(X).shape == labels.shape
        assert fitted.predict_proba(X).shape == labels.shape
        assert (fitted.predict(X) == labels).mean() > 0.75
    sparse = estimator.fit(X, scipy.sparse.csr_array(labels)).predict_proba(X)
    np.testing.assert_array_equal(sparse, estimator.fit(X, labels).predict_proba(X))
    with pytest.raises(ValueError, match="BCEWithLogitsLoss"):
        soup().fit(X, labels)


def test_multi_output_regression():
    targets = np.stack([X[:, 0], X[:, 1] * 2], axis=1)
    for estimator in (SoupRegressor, EnsembleRegressor):
        fitted = estimator(regressor(max_epochs=40), collect=Tail(), random_state=0).fit(X, targets)
        assert fitted.predict(X).shape == (150, 2)
        assert fitted.score(X, targets) > 0.5


def test_targets_of_one_column():
    flat = SoupRegressor(regressor(), collect=Seeds(2), random_state=0).fit(X, X[:, 0]).predict(X)
    column = SoupRegressor(regressor(), collect=Seeds(2), random_state=0).fit(X, X[:, :1]).predict(X)
    assert flat.shape == (150,)
    assert column.shape == (150, 1)
    np.testing.assert_array_equal(flat, column[:, 0])
    with pytest.warns(match="column-vector y"):
        soup().fit(X, y[:, None])


def test_large_values_do_not_lose_their_mean():
    n = 60_000  # a float32 running sum would stop at 2 ** 24
    x = np.full((n, 1), 1000.0, np.float32)
    x[::2] += 1
    fitted = SoupRegressor(regressor(max_epochs=1), collect=Seeds(1), merge=Uniform(), random_state=0).fit(x, x[:, 0])
    np.testing.assert_allclose(fitted.state_["x_mean"], 1000.5, rtol=1e-6)
    np.testing.assert_allclose(fitted.state_["x_std"], 0.5, rtol=1e-5)


# ---- nets --------------------------------------------------------------------------------------------------------


def snapshot(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def test_module_instances_are_a_common_start():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    before = snapshot(module)
    given = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=2, lr=0.1, **QUIET)
    fitted = soup(given, merge=Uniform()).fit(X, y)
    assert all(torch.equal(fitted.pool_.base[k], before[k]) for k in before)
    assert all(torch.equal(module.state_dict()[k], before[k]) for k in before)
    assert not torch.equal(fitted.pool_[0].state["0.weight"], fitted.pool_[1].state["0.weight"])
    assert SoupClassifier(net(), collect=Seeds(1)).fit(X, y).pool_.base is None


def test_fitted_nets_are_cloned_and_not_touched():
    plain = NeuralNetClassifier(Softmax, module__n_in=4, module__n_out=3, max_epochs=2, **QUIET)
    plain.fit(X.astype(np.float32), y)
    before, epochs = snapshot(plain.module_), len(plain.history)
    fitted = soup(plain).fit(X, y)
    assert all(torch.equal(plain.module_.state_dict()[k], before[k]) for k in before)
    assert len(plain.history) == epochs
    fresh = NeuralNetClassifier(Softmax, module__n_in=4, module__n_out=3, max_epochs=2, **QUIET)
    np.testing.assert_array_equal(soup(fresh).fit(X, y).predict_proba(X), fitted.predict_proba(X))


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))

    def forward(self, X):
        return self.layers(X)


def test_lazy_modules():
    lazy = NeuralNetClassifier(Lazy, criterion=nn.CrossEntropyLoss, max_epochs=3, lr=0.1, **QUIET)
    fitted = SoupClassifier(lazy, collect=Tail(0), merge=Uniform(), random_state=0).fit(X, y)
    inside = fitted.estimator_.predict_proba(X.astype(np.float32))
    np.testing.assert_allclose(inside, fitted.predict_proba(X), rtol=1e-5)
    again = SoupClassifier(lazy, random_state=0).fuse(fitted.pool_, X[:50] + 0.1, y[50:100])
    assert again.predict(X).shape == (150,)


class Double(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, X):
        return self.layer(X)


def test_float64_modules():
    double = NeuralNetClassifier(Double, criterion=nn.CrossEntropyLoss, max_epochs=3, lr=0.1, **QUIET)
    weight = np.linspace(0.5, 1.5, 150)
    fitted = soup(double).fit(X, y, sample_weight=weight)
    assert fitted.predict_proba(X).dtype == np.float64
    assert fitted.state_["layer.weight"].dtype == torch.float64
    values = NeuralNetRegressor(Double, max_epochs=3, lr=0.01, **QUIET)
    assert SoupRegressor(values, collect=Seeds(1), random_state=0).fit(X, X[:, :3]).predict(X).dtype == np.float64


class Rows3(torch.utils.data.DataLoader):
    """The user's own loader."""


@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": torch.optim.SGD, "optimizer__fused": None, "optimizer__weight_decay": 0.0},
        {"iterator_train": Rows3},
        {"callbacks": [("f1", EpochScoring("f1_macro", on_train=True))]},
        {"callbacks": [("stop", EarlyStopping("train_loss", patience=1, threshold=10.0))], "max_epochs": 9},
        {"iterator_train__drop_last": True, "batch_size": 32},
        {"gradient_clipping": None},
    ],
    ids=lambda p: next(iter(p)),
)
def test_nets_with_parts_of_their_own(params):
    params = {k: v for k, v in params.items() if k != "gradient_clipping"}
    given = net(**{"callbacks": [], **params})
    if given.optimizer is torch.optim.SGD:
        given = mlp_classifier(optimizer=torch.optim.SGD, optimizer__fused=False, max_epochs=3, lr=0.1)
        given.set_params(optimizer__weight_decay=0.0)
    vectorize = "auto" if {"iterator_train", "f1"}.isdisjoint([*params, *dict(params.get("callbacks", []))]) else False
    fitted = soup(given, collect=Seeds(2, vectorize=vectorize)).fit(X, y)
    assert fitted.predict(X).shape == (150,)
    if params.get("max_epochs") == 9:
        assert max(m.meta["epoch"] for m in fitted.pool_) < 9


def test_second_order_optimizer():
    given = mlp_classifier(optimizer=torch.optim.LBFGS, batch_size=-1, max_epochs=3, lr=0.5, module__hidden=(8,))
    del given.optimizer__weight_decay
    del given.optimizer__fused
    given = NeuralNetClassifier(
        Softmax,
        module__n_in=4,
        module__n_out=3,
        optimizer=torch.optim.LBFGS,
        batch_size=-1,
        max_epochs=3,
        lr=0.5,
        **QUIET,
    )
    assert soup(given, collect=Seeds(2, vectorize=False)).fit(X, y).score(X, y) > 0.6


def test_nets_with_a_validation_split_of_their_own():
    from skorch.dataset import ValidSplit

    fitted = soup(net(train_split=ValidSplit(3), callbacks=None)).fit(X, y)
    assert "valid_loss" in fitted.pool_[0].meta["history"][0]


# ---- weights, groups, missing classes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator", [soup(), EnsembleClassifier(net(), collect=Seeds(2), random_state=0)], ids=lambda e: type(e).__name__
)
def test_whole_weights_are_repetitions(estimator):
    weight = np.random.RandomState(0).randint(0, 4, 150)
    weighted = estimator.fit(X, y, sample_weight=weight).predict_proba(X)
    repeated = estimator.fit(X.repeat(weight, axis=0), y.repeat(weight)).predict_proba(X)
    np.testing.assert_array_equal(weighted, repeated)
    ones = estimator.fit(X, y, sample_weight=np.ones(150)).predict_proba(X)
    np.testing.assert_array_equal(ones, estimator.fit(X, y).predict_proba(X))


def test_fractional_weights_count():
    labels = (np.arange(150) % 2).astype(int)
    half = np.where(labels == 0, 0.9, 0.1)
    fitted = EnsembleClassifier(net(max_epochs=30), collect=Seeds(1), random_state=0).fit(X, labels, sample_weight=half)
    assert fitted.predict_proba(X)[:, 0].mean() > 0.7
    double = EnsembleClassifier(net(max_epochs=30), collect=Seeds(1), random_state=0)
    double.fit(X, labels, sample_weight=7.3 * half)
    np.testing.assert_allclose(double.predict_proba(X), fitted.predict_proba(X), rtol=1e-3)


def test_weights_count_in_the_held_out_score():
    seen = []

    def score(estimator, X, y, sample_weight=None):
        seen.append(sample_weight)
        return 0.5

    weight = np.linspace(0.5, 1.5, 150)
    fitted = soup(scoring=score).fit(X, y, sample_weight=weight)
    expected = weight[fitted.held_out_]
    assert all(np.allclose(w / w.sum(), expected / expected.sum()) for w in seen)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        soup(scoring=lambda estimator, X, y: 0.5).fit(X, y, sample_weight=weight)


def test_weights_have_one_scale_over_folds(monkeypatch):
    seen = {}
    fit = Stack.fit

    def spy(self, P, y, task, sample_weight=None):
        seen.update(y=y, weight=sample_weight)
        return fit(self, P, y, task, sample_weight)

    monkeypatch.setattr(Stack, "fit", spy)
    values = np.arange(30.0)
    weight = np.where(values < 10, 2.0, 0.25)  # whole numbers in the first fold, fractions in the others
    folds = [(np.setdiff1d(np.arange(30), part), part) for part in np.arange(30).reshape(3, 10)]
    ensemble = EnsembleRegressor(regressor(), collect=Seeds(1), combine=Stack(), cv=folds, random_state=0)
    ensemble.fit(X[:30] + values[:, None], values, sample_weight=weight)
    order = seen["y"][:, 0].argsort()
    np.testing.assert_allclose(seen["weight"][order] / seen["weight"].sum(), weight / weight.sum())


def test_rows_of_weight_zero_are_absent():
    weight = (y < 2).astype(float)
    fitted = soup().fit(X, y, sample_weight=weight)
    assert fitted.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(fitted.predict_proba(X), soup().fit(X[y < 2], y[y < 2]).predict_proba(X))


def test_given_folds_count_all_rows():
    weight = np.ones(150)
    weight[::7] = 0
    used = np.flatnonzero(weight)
    folds = [(np.flatnonzero(np.arange(150) % 3 != k), np.flatnonzero(np.arange(150) % 3 == k)) for k in range(3)]
    same = [tuple(np.flatnonzero(np.isin(used, part)) for part in fold) for fold in folds]
    masks = [tuple(np.isin(np.arange(150), part) for part in fold) for fold in folds]
    results = []
    for cv, rows in ((folds, None), (masks, None), (same, used)):
        ensemble = EnsembleClassifier(net(), collect=Seeds(2), combine=Stack(), cv=cv, random_state=0)
        if rows is None:
            results.append(ensemble.fit(X, y, sample_weight=weight).predict_proba(X))
        else:
            results.append(ensemble.fit(X[rows], y[rows]).predict_proba(X))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    ensemble.set_params(cv=folds, select=TopK(1)).fit(X, y, sample_weight=weight)  # some of them are held out now


def test_groups_are_held_out_together():
    groups = np.random.RandomState(0).randint(12, size=150)
    fitted = soup().fit(X, y, groups=groups)
    held = np.isin(np.arange(150), fitted.held_out_)
    assert 0 < held.sum() < 75
    assert not set(groups[held]) & set(groups[~held])
    values = SoupRegressor(regressor(), collect=Seeds(2), random_state=0).fit(X, X[:, 0], groups=groups.astype(str))
    held = np.isin(np.arange(150), values.held_out_)
    assert not set(groups[held]) & set(groups[~held])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("cv", [3, None])
def test_groups_stay_in_one_fold(task, cv):
    groups = np.repeat(np.arange(10), 15)
    rows = Rows(X.astype(np.float32), y if task == "classification" else X[:, :1], groups=groups)
    parts = [*folds(rows, cv, task)]
    assert len(parts) == (cv or 5)
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(150))
    for train, test in parts:
        assert not set(groups[train]) & set(groups[test])


def test_stack_with_groups():
    groups = np.arange(150) // 5
    ensemble = EnsembleClassifier(net(), collect=Seeds(2), combine=Stack(), cv=3, random_state=0)
    assert ensemble.fit(X, y, groups=groups).predict(X).shape == (150,)
    with pytest.raises(ValueError, match="at least 2 groups"):
        ensemble.fit(X, y, groups=np.zeros(150))


def test_duplicates_never_straddle():
    twice = np.concatenate([X, X]), np.concatenate([y, y])
    fitted = soup().fit(*twice)
    held = np.isin(np.arange(300), fitted.held_out_)
    np.testing.assert_array_equal(held[:150], held[150:])


def test_held_out_rows_do_not_depend_on_the_order():
    order = np.random.RandomState(0).permutation(150)
    unique = X + np.linspace(0, 1e-2, 150)[:, None]
    a, b = soup().fit(unique, y), soup().fit(unique[order], y[order])
    assert set(a.held_out_) == set(order[b.held_out_])


def test_classes_missing_where_members_are_judged_or_trained():
    labels = np.where(np.arange(150) == 7, 2, (np.arange(150) % 2).astype(int))  # one row of class 2
    fitted = soup().fit(X, labels)
    assert 7 not in fitted.held_out_
    assert fitted.predict_proba(X).shape == (150, 3)
    bags = EnsembleClassifier(net(), collect=Bootstrap(4, max_samples=0.2), random_state=0).fit(X, labels)
    assert bags.predict_proba(X).shape == (150, 3)
    with pytest.warns(UserWarning, match=r"Classes of fewer different rows than the 3 folds: 2 \(1\)"):
        stacked = EnsembleClassifier(net(), collect=Seeds(1), combine=Stack(), cv=3, random_state=0).fit(X, labels)
    assert stacked.predict_proba(X).shape == (150, 3)
    assert soup(scoring="neg_log_loss").fit(X, labels).merge_report_["score"] < 0  # of three classes
    with pytest.warns(UndefinedMetricWarning, match="judged by the log-loss"):
        judged = soup(scoring="roc_auc_ovr").fit(X, labels)
    assert judged.merge_report_["score"] < 0


def test_snapshots_of_one_row_a_class():
    fitted = SoupClassifier(net(), collect=Snapshots(2), merge=Uniform(), random_state=0).fit(
        X[[0, 60, 120]], [0, 1, 2]
    )
    assert fitted.predict(X).shape == (150,)


def test_integers_in_an_array_or_in_a_dict():
    class Tokens(nn.Module):
        def __init__(self, n_out=2):
            super().__init__()
            self.layers = nn.Sequential(nn.EmbeddingBag(20, 4), nn.Linear(4, n_out))

        def forward(self, X):
            return self.layers(X)

    tokens = np.random.RandomState(0).randint(20, size=(150, 5))
    text = NeuralNetClassifier(Tokens, criterion=nn.CrossEntropyLoss, max_epochs=2, **QUIET)
    assert soup(text).fit({"X": tokens}, y).predict({"X": tokens}).shape == (150,)
    with pytest.raises(ValueError, match="arrays of integers stay as they are in a dict"):
        soup(text).fit(tokens, y)


def test_sliced_dicts_in_a_search():
    inputs = SliceDict(numbers=X.astype(np.float32), word=y + 1)
    two = NeuralNetClassifier(Two, criterion=nn.CrossEntropyLoss, max_epochs=3, **QUIET)
    search = GridSearchCV(soup(two), {"merge": [Uniform(), None]}, cv=2).fit(inputs, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_copies_predict():
    fitted = soup().fit(X, y)
    np.testing.assert_array_equal(copy.deepcopy(fitted).predict_proba(X), fitted.predict_proba(X))
    assert isinstance(fitted.state_["layers.0.weight"], torch.Tensor)
    assert isinstance(copy.deepcopy(fitted).state_["layers.0.weight"], torch.Tensor)


class Focal(nn.Module):
    """A loss of the user's own, of logits."""

    def forward(self, logits, target):
        loss = nn.functional.cross_entropy(logits, target, reduction="none")
        return ((1 - torch.exp(-loss)) ** 2 * loss).mean()


def test_losses_of_ones_own_need_a_nonlinearity():
    with pytest.raises(ValueError, match="no probabilities.*Focal.*give the net predict_nonlinearity"):
        soup(net(criterion=Focal)).fit(X, y)
    fitted = soup(net(criterion=Focal, predict_nonlinearity=nn.Softmax(dim=-1), max_epochs=20)).fit(X, y)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert fitted.score(X, y) > 0.8


def test_statistics_of_batch_norm_honour_weights():
    weight = np.where(np.arange(150) % 2, 1.7, 0.2)
    one = SoupClassifier(net(module__norm="batch"), collect=Tail(0), merge=Uniform(), random_state=0)
    fitted = one.fit(X, y, sample_weight=weight)
    plain = SoupClassifier(net(module__norm="batch"), collect=fitted.pool_, merge=Uniform()).fit(X, y)
    key = next(k for k in fitted.state_ if k.endswith("running_mean"))
    assert not torch.allclose(plain.state_[key], fitted.state_[key])


def test_rows_are_held_out_where_each_class_has_one():
    fitted = SoupClassifier(collect=Seeds(2), random_state=0).fit(X[[0, 60, 120]], [0, 1, 2])
    assert len(fitted.held_out_) == 1
