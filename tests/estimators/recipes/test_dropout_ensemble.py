"""Dropout as an ensemble of sub-networks."""

import pickle
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_iris
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import DropoutEnsembleClassifier, DropoutEnsembleRegressor, EnsembleClassifier, ModelPool
from skfusion.collect import Seeds
from skfusion.estimators.support._dropout_passes import DropoutPasses
from skfusion.nets import Runner, mlp_classifier, mlp_regressor, tabm_classifier, tabular_classifier
from skfusion.testing import _problems as problems

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
K = {tabm_classifier: {"k": 4}}


def net(**params):
    given = {"max_epochs": 6, "module__hidden": (8,), "module__dropout": 0.4, "lr": 0.02}
    return mlp_classifier(**{**given, **params})


class Layer(nn.Module):
    """A softmax layer whose inputs are dropped."""

    def __init__(self, p=0.5, kind=nn.Dropout):
        super().__init__()
        self.drop, self.layer = kind(p), nn.Linear(4, 3)

    def forward(self, X):
        return self.layer(self.drop(X))


def plain(module, **params):
    given = {"criterion": nn.CrossEntropyLoss, "train_split": None, "verbose": 0, "max_epochs": 3, "lr": 0.05}
    return NeuralNetClassifier(module, **{**given, **params})


def passes(module, n_passes, seed=0, task="classification"):
    """Sub-networks of a module with its own weights."""
    runner = Runner(plain(module), task)
    return DropoutPasses([runner], [module.state_dict()], n_passes, seed)


def sub_networks(module):
    """Probabilities of each of the 2^4 sub-networks of a softmax layer, by brute force, in float64."""
    W, b = (t.detach().numpy().astype(np.float64) for t in (module.layer.weight, module.layer.bias))
    return np.stack([softmax((X * mask * 2.0) @ W.T + b, axis=1) for mask in product([0, 1], repeat=4)])


def test_passes_are_the_sub_networks_each_as_often_as_the_others():
    module = Layer()
    every = sub_networks(module)
    found = passes(module, 800).predict(X)
    gaps = np.abs(found[:, None, :10] - every[None, :, :10]).max(axis=(2, 3))  # shape: (n_passes, n_masks)
    assert gaps.min(axis=1).max() < 1e-5
    counts = np.bincount(gaps.argmin(axis=1), minlength=16)
    assert ((counts - 50) ** 2 / 50).sum() < 37.7  # chi-squared with 15 degrees of freedom: one in a thousand


def test_the_geometric_mean_of_all_sub_networks_is_the_network_without_dropout():
    module = Layer()
    distinct = np.unique(passes(module, 800).predict(X).astype(np.float64).round(7), axis=0)
    assert len(distinct) == 16
    mean = np.exp(np.log(sub_networks(module)).mean(axis=0))
    scaled = Runner(plain(module), "classification").predict(module.state_dict(), X)
    np.testing.assert_allclose(mean / mean.sum(axis=1, keepdims=True), scaled, atol=1e-6)
    logs = np.exp(np.log(np.maximum(distinct, 1e-7)).mean(axis=0))
    np.testing.assert_allclose(logs / logs.sum(axis=1, keepdims=True), scaled, atol=1e-3)


def test_the_mean_of_many_passes_is_the_mean_of_all_sub_networks():
    module = Layer()
    found = passes(module, 4000).predict(X).mean(axis=0)
    spread = sub_networks(module).std(axis=0) / np.sqrt(4000)
    assert (np.abs(found - sub_networks(module).mean(axis=0)) < 4.5 * spread + 1e-6).all()


@pytest.mark.slow
def test_the_noise_of_the_mean_falls_with_the_square_root():
    module = Layer()
    few, many = (
        np.std([passes(module, n, seed).predict(X[:20]).mean(axis=0) for seed in range(100)], axis=0).mean()
        for n in (10, 160)
    )
    assert few / many == pytest.approx(4.0, rel=0.2)


def test_without_dropping_it_is_the_network():
    module = nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 3))
    fitted = DropoutEnsembleClassifier(plain(module), n_passes=3, random_state=0).fit(X, y)
    one = EnsembleClassifier(plain(module), collect=Seeds(1), random_state=0).fit(X, y)
    alone = Runner(one.net_, "classification").predict(one.pool_[0].state, X)
    np.testing.assert_allclose(fitted.predict_members(X), np.stack([alone] * 3), atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(X), one.predict_proba(X), rtol=1e-5)


def test_fit_is_that_of_the_network_alone():
    fitted = DropoutEnsembleClassifier(net(), random_state=0).fit(X, y)
    one = EnsembleClassifier(net(), collect=Seeds(1), random_state=0).fit(X, y)
    assert problems.snapshot(fitted.pool_) == problems.snapshot(one.pool_)
    np.testing.assert_allclose(fitted.estimators_[0].predict_proba(X), one.predict_proba(X), rtol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(X), fitted.predict_members(X).mean(axis=0), rtol=1e-6)
    assert np.abs(fitted.predict_members(X).std(axis=0)).max() > 0.01


def test_statistics_and_modes_stay():
    fitted = DropoutEnsembleClassifier(net(module__norm="batch"), random_state=0).fit(X, y)
    module = fitted._runner.runners[0].module
    before = problems.snapshot([module, fitted.pool_])
    fitted.predict(X)
    assert problems.snapshot([module, fitted.pool_]) == before
    assert not any(part.training for part in module.modules())
    fitted.predict(X)


@pytest.mark.usefixtures("untouched_rng")
def test_predictions_are_repeatable():
    fitted = DropoutEnsembleClassifier(net(), n_passes=5, random_state=0).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_allclose(fitted.predict_proba(X[3:5]), fitted.predict_proba(X)[3:5], rtol=1e-5)
    kept = fitted.predict_members(X)
    more = DropoutEnsembleClassifier(net(), n_passes=9, random_state=0).fuse(fitted.pool_, X, y)
    np.testing.assert_array_equal(more.predict_members(X)[:5], kept)
    other = DropoutEnsembleClassifier(net(), n_passes=5, random_state=1).fuse(fitted.pool_, X, y)
    assert not np.array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_a_fitted_ensemble_keeps_its_passes():
    fitted = DropoutEnsembleClassifier(net(), n_passes=5, random_state=0).fit(X, y)
    kept = fitted.predict_members(X)
    fitted.set_params(n_passes=3)
    assert fitted.n_passes_ == 5
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_members(X), kept)
    np.testing.assert_array_equal(fitted.predict_members(X), kept)


def test_a_network_that_is_trained_already():
    """Rows say no more than how large the data is: any of them do."""
    trained = net(module__n_in=4, module__n_out=3, max_epochs=20).fit(X, y)
    pool = ModelPool.from_estimators([trained])
    fused = DropoutEnsembleClassifier(trained, n_passes=9, random_state=0).fuse(pool, X, y)
    for Z, t in [(X[:1], y[:1]), (9 * X, y[::-1])]:
        again = DropoutEnsembleClassifier(trained, n_passes=9, random_state=0).fuse(pool, Z, t)
        np.testing.assert_array_equal(again.predict_members(X), fused.predict_members(X))
    np.testing.assert_allclose(fused.estimators_[0].predict_proba(X), trained.predict_proba(X), rtol=1e-5)


def test_one_mask_for_all_chunks_and_one_for_each_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.scale = nn.Dropout(0.5), nn.Parameter(torch.ones(()))

        def forward(self, X):
            return torch.cat([self.drop(X), self.drop(X)], 1) * self.scale

    many = np.ones((5000, 20), np.float32)
    (found,) = passes(Twice(), 1, task="regression").predict(many)
    assert (found == found[0]).all()
    assert {*found[0].tolist()} == {0.0, 2.0}
    assert not np.array_equal(found[0, :20], found[0, 20:])


@pytest.mark.parametrize("kind", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_dropout_that_is_no_product(kind):
    """Alpha dropout sets units to a value, and keeps mean and variance of standard normal inputs."""
    module = Layer(0.3, kind)
    module.layer = nn.Linear(4, 4, bias=False)
    nn.init.eye_(module.layer.weight)
    rows = np.random.RandomState(0).normal(size=(500, 4)).astype(np.float32)
    found = passes(module, 200, task="regression").predict(rows)
    assert found.mean() == pytest.approx(0, abs=0.1)
    assert found.std() == pytest.approx(1, abs=0.1)
    dropped = np.ptp(found, axis=1) == 0
    assert dropped.mean() == pytest.approx(0.3, abs=0.06)


def test_whole_channels_and_transformers():
    images = np.random.RandomState(0).normal(size=(30, 1, 6, 6)).astype(np.float32)
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(64, 3))
    assert DropoutEnsembleClassifier(plain(conv), random_state=0).fit(images, y[::5]).predict_members(images).std() > 0
    encoder = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.5, batch_first=True)
    words = nn.Sequential(encoder, nn.Flatten(), nn.Linear(36, 3))
    found = DropoutEnsembleClassifier(plain(words), random_state=0).fit(images[:, 0], y[::5])
    assert found.predict_members(images[:, 0]).std(axis=0).min() > 0


@pytest.mark.parametrize(("kind", "shape"), [(nn.Dropout1d, (4,)), (nn.Dropout3d, (4, 1, 1))])
def test_channels_that_are_samples_are_refused(kind, shape):
    """torch reads the rows as the channels of one sample then, and drops whole rows."""
    torch.manual_seed(0)
    dropped = kind(0.5)(torch.ones(100, *shape)).flatten(1)
    assert (dropped.min(1).values == dropped.max(1).values).all()
    module = nn.Sequential(kind(0.5), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(
        ValueError, match=rf"{kind.__name__} is given a tensor of {1 + len(shape)} axes.*torch.nn.Dropout"
    ):
        DropoutEnsembleClassifier(plain(module), random_state=0).fit(X.reshape(-1, *shape), y)
    fine = nn.Sequential(nn.Unflatten(1, (4, *[1] * int(kind.__name__[-2]))), kind(0.5), nn.Flatten(), nn.Linear(4, 3))
    assert DropoutEnsembleClassifier(plain(fine), random_state=0).fit(X, y).predict_members(X).std(axis=0).min() > 0


def test_values_and_several_networks():
    Z, t = load_diabetes(return_X_y=True)
    given = mlp_regressor(max_epochs=6, module__hidden=(8,), module__dropout=0.2)
    fitted = DropoutEnsembleRegressor(given, n_passes=7, random_state=0).fit(Z, t)
    assert fitted.predict_members(Z).shape == (7, 442, 1)
    np.testing.assert_allclose(fitted.predict(Z), fitted.predict_members(Z).mean(axis=0)[:, 0], rtol=1e-5)
    pool = Seeds(3).collect(given, Z.astype(np.float32), t, random_state=0)
    several = DropoutEnsembleRegressor(given, n_passes=4, random_state=0).fuse(pool, Z, t)
    assert several.predict_members(Z).shape == (12, 442, 1)


def test_what_has_no_dropout_is_refused():
    for without in (net(module__dropout=0.0), plain(nn.Linear(4, 3))):
        with pytest.raises(ValueError, match="The net has no dropout.*Give it modules such as torch.nn.Dropout"):
            DropoutEnsembleClassifier(without).fit(X, y)
    pool = EnsembleClassifier(net(module__dropout=0.0), collect=Seeds(1), random_state=0).fit(X, y).pool_
    with pytest.raises(ValueError, match="no dropout"):
        DropoutEnsembleClassifier().fuse(pool, X, y)


class Depth(nn.Module):
    """A layer of another library: with probability p a row loses what it is given (stochastic depth)."""

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full((len(x), *[1] * (x.ndim - 1)), 1 - self.p)).to(x) / (1 - self.p)


class Noise(nn.Module):
    """A layer that adds to its input in training."""

    def forward(self, x):
        return x + torch.randn_like(x) if self.training else x


class Scaled(Noise):
    """One whose noise depends on its input."""

    def forward(self, x):
        return x + x.square() * torch.randn_like(x) if self.training else x


def test_layers_of_other_libraries_are_found_by_what_they_do():
    passed = passes(Layer(kind=lambda p: Depth()), 40).predict(X)
    assert len(np.unique(passed.round(5), axis=0)) == 2  # all four inputs are dropped, or none
    noisy = passes(Layer(kind=lambda p: Noise()), 5).predict(X)
    assert noisy.std(axis=0).min() > 0
    with pytest.raises(ValueError, match="Scaled draws random numbers, and does not scale and shift"):
        passes(Layer(kind=lambda p: Scaled()), 2).predict(X)


def test_layers_are_left_in_evaluation_mode_and_random_generators_alone():
    module, before = Layer(), torch.get_rng_state()
    passes(module, 2).predict(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert not [*module.drop._forward_hooks]


@pytest.mark.parametrize("make", [tabm_classifier, tabular_classifier])
def test_nets_for_tables_have_passes_of_their_own(make):
    given = make(max_epochs=2, module__hidden=(8,), module__dropout=0.3, **K.get(make, {}))
    fitted = DropoutEnsembleClassifier(given, n_passes=6, random_state=0).fit(X, y)
    P = fitted.predict_members(X)
    assert P.shape == (6, 150, 3)
    assert P.std(axis=0).max() > 0.001
    np.testing.assert_allclose(P.sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(fitted.predict_members(X[:7]), P[:, :7], atol=1e-5)  # a mask does not depend on the rows
    nothing = DropoutEnsembleClassifier(given.set_params(module__dropout=0.0), n_passes=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(*nothing.predict_members(X))


def test_a_pass_of_tabm_is_the_mean_of_members_with_units_dropped():
    given = tabm_classifier(max_epochs=1, module__hidden=(6,), module__dropout=0.5, k=3)
    fitted = DropoutEnsembleClassifier(given, n_passes=4, random_state=0).fit(X, y)
    (one,) = fitted.estimators_
    module = one.module_
    x = torch.from_numpy(X)
    with torch.no_grad():
        units = torch.relu(module._first(*module._prepared(x)))  # shape: (k, n_samples, n_units)
        heads = module.layers[-1]
        for predicted, seed in zip(fitted.predict_members(X), fitted._runner.seeds[0], strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                masks = nn.functional.dropout(torch.ones(3, 6), 0.5)  # one for each member, which all rows share
            logits = (heads(units * masks.unsqueeze(1)) * module.y_std + module.y_mean).numpy()
            np.testing.assert_allclose(predicted, softmax(logits, axis=2).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("n_passes", [0, 1.5])
def test_wrong_parameters_are_refused(n_passes):
    with pytest.raises(ValueError, match="n_passes"):
        DropoutEnsembleClassifier(net(), n_passes=n_passes).fit(X, y)
