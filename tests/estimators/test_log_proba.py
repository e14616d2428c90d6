"""Logarithms of probabilities: told from logits, summed without loss, and the same as the probabilities."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, logsumexp
from sklearn.datasets import load_iris
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from skfusion import (
    BoostingFusion,
    CurveClassifier,
    DeepForestClassifier,
    DistillClassifier,
    DropoutEnsembleClassifier,
    EnsembleClassifier,
    EnsembleOfAveragesClassifier,
    ModelPool,
    NeuralDecisionForestClassifier,
    SoupClassifier,
    StackingFusion,
    SubspaceClassifier,
)
from skfusion.collect import Seeds
from skfusion.combine import GeometricAverage, Vote
from skfusion.connect import Simplicial
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.pool import Member
from skfusion.tuning import FusionSearch

RNG = np.random.RandomState(0)
X = RNG.normal(size=(500, 8)).astype(np.float32)


class Linear(nn.Module):
    def __init__(self, n_out, end=None):
        super().__init__()
        self.layer, self.end = nn.Linear(8, n_out, bias=False), end

    def forward(self, X):
        z = self.layer(X)
        return z if self.end is None else self.end(z)


def net(n_out=4, end=None, criterion=nn.CrossEntropyLoss, kind=NeuralNetClassifier):
    return kind(Linear, module__n_out=n_out, module__end=end, criterion=criterion)


def pool_of(given, sd, n_out=4, n_members=5):
    """Return members whose logits have a standard deviation, and these logits in float64."""
    weights = [torch.tensor(RNG.normal(size=(n_out, 8)) * sd / np.sqrt(8)).float() for _ in range(n_members)]
    members = [Member(f"m{i}", {"layer.weight": w}, net=given) for i, w in enumerate(weights)]
    z = np.stack([X.astype(np.float64) @ w.double().numpy().T for w in weights])
    return ModelPool(members), z


@pytest.mark.parametrize("sd", [1, 25, 100])
@pytest.mark.parametrize("recipe", [EnsembleOfAveragesClassifier, EnsembleClassifier])
def test_classes_are_those_of_the_true_sum_of_logits(sd, recipe):
    pool, z = pool_of(net(), sd)
    fusion = recipe(net()) if recipe is EnsembleOfAveragesClassifier else recipe(net(), combine=GeometricAverage())
    fitted = fusion.fuse(pool, X, RNG.randint(4, size=500))
    total = z.sum(axis=0)
    first, second = np.sort(total, axis=1)[:, :-3:-1].T
    clear = first - second > 1e-4 * sd  # float32 cannot tell the others apart
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(fitted.predict(X)[clear], total.argmax(axis=1)[clear])
    np.testing.assert_allclose(fitted.predict_log_proba(X), log_softmax(total / 5, axis=1), atol=1e-5 * sd)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), fitted.predict_proba(X), atol=1e-6)


def test_weighted_and_single_rows_and_rows_of_one_member():
    pool, z = pool_of(net(), 25)
    y = RNG.randint(4, size=500)
    weights = [3.0, 0.0, 1.0, 1.0, 0.0]
    fitted = EnsembleClassifier(net(), combine=GeometricAverage(weights)).fuse(pool, X, y)
    expected = log_softmax(np.tensordot(np.array(weights) / 5, z, axes=1), axis=1)
    np.testing.assert_allclose(fitted.predict_log_proba(X), expected, atol=1e-3)
    np.testing.assert_allclose(fitted.predict_log_proba(X[:1]), expected[:1], atol=1e-3)
    assert fitted.predict_proba(X).dtype == np.float32
    entropy = fitted.predict_uncertainty(X)["entropy"]
    np.testing.assert_allclose(entropy, -(np.exp(expected) * expected).sum(axis=1), atol=1e-3)


def test_labels_have_the_mean_of_log_odds():
    given = net(criterion=nn.BCEWithLogitsLoss)
    pool, z = pool_of(given, 25)
    y = RNG.randint(2, size=(500, 4))
    fitted = EnsembleClassifier(given, combine=GeometricAverage()).fuse(pool, X, y)
    mean = z.mean(axis=0)
    clear = abs(mean) > 1e-3
    np.testing.assert_array_equal(fitted.predict(X)[clear], (mean > 0)[clear])
    np.testing.assert_allclose(fitted.predict_log_proba(X), -np.logaddexp(0, -mean), atol=1e-3)
    soup = SoupClassifier(given, merge=Uniform()).fuse(pool, X, y)
    np.testing.assert_allclose(soup.predict_log_proba(X), -np.logaddexp(0, -mean), atol=1e-3)
    plain = EnsembleClassifier(given).fuse(pool, X, y)
    np.testing.assert_allclose(np.exp(plain.predict_log_proba(X)), expit(z).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("sigmoid", [False, True])
def test_two_classes_of_one_output(sigmoid):
    given = net(1, nn.Sigmoid() if sigmoid else None, nn.BCELoss if sigmoid else nn.BCEWithLogitsLoss,
                NeuralNetBinaryClassifier)  # fmt: skip
    pool, z = pool_of(given, 2 if sigmoid else 25, n_out=1)
    y = RNG.randint(2, size=500)
    both = np.stack([-np.logaddexp(0, z[..., 0]), -np.logaddexp(0, -z[..., 0])], axis=-1)
    geometric = EnsembleClassifier(given, combine=GeometricAverage()).fuse(pool, X, y)
    expected = log_softmax(both.mean(axis=0), axis=1)
    np.testing.assert_allclose(geometric.predict_log_proba(X), expected, rtol=1e-3, atol=1e-4)
    mean = EnsembleClassifier(given).fuse(pool, X, y)
    np.testing.assert_allclose(mean.predict_log_proba(X), logsumexp(both, axis=0) - np.log(5), rtol=1e-3, atol=1e-4)


def test_probabilities_that_a_module_returns_are_not_clamped_at_rounding():
    given = net(end=nn.Softmax(dim=1), criterion=nn.NLLLoss)
    pool, z = pool_of(given, 8)  # no probability is below what float32 can hold
    assert log_softmax(z, axis=2).min() > -80
    fitted = EnsembleClassifier(given, combine=GeometricAverage()).fuse(pool, X, RNG.randint(4, size=500))
    np.testing.assert_allclose(fitted.predict_log_proba(X), log_softmax(z.mean(axis=0), axis=1), atol=1e-3)
    nonsense, _ = pool_of(net(criterion=nn.NLLLoss), 8)
    unread = EnsembleClassifier(net(criterion=nn.NLLLoss), combine=GeometricAverage())
    with pytest.raises(ValueError, match=r"no probabilities.*predict_nonlinearity"):
        unread.fuse(nonsense, X, RNG.randint(4, size=500)).predict(X)


def test_mean_probabilities_have_logarithms_below_the_least_number():
    pool, z = pool_of(net(), 100)
    fitted = EnsembleClassifier(net()).fuse(pool, X, RNG.randint(4, size=500))
    assert fitted.predict_proba(X).min() == 0
    expected = logsumexp(log_softmax(z, axis=2), axis=0) - np.log(5)
    np.testing.assert_allclose(fitted.predict_log_proba(X), expected, atol=1e-2)
    voted = EnsembleClassifier(net(), combine=Vote()).fuse(pool, X, RNG.randint(4, size=500))
    assert voted.predict_log_proba(X).min() == -np.inf


A, b = load_iris(return_X_y=True)
SMALL = mlp_classifier(max_epochs=5, module__hidden=(8,))
ALL = {
    "soup": SoupClassifier(SMALL, collect=Seeds(2), merge=Uniform(), random_state=0),
    "ensemble": EnsembleClassifier(SMALL, collect=Seeds(2), random_state=0),
    "curve": CurveClassifier(SMALL, n_points=3, random_state=0),
    "subspace": SubspaceClassifier(SMALL, connect=Simplicial(1, 2, n_epochs=2), n_points=3, random_state=0),
    "stacking": StackingFusion(SMALL, n_members=2, cv=2, random_state=0),
    "boosted": BoostingFusion(SMALL, n_members=2, random_state=0),
    "dropout": DropoutEnsembleClassifier(mlp_classifier(max_epochs=5, module__dropout=0.1), random_state=0),
    "distilled": DistillClassifier(SMALL, random_state=0),
    "search": FusionSearch(
        EnsembleClassifier(SMALL, collect=Seeds(2)), lambda trial: {}, n_trials=1, cv=2, random_state=0
    ),
    "deep forest": DeepForestClassifier(n_trees=5, max_levels=1, random_state=0),
    "decision forest": NeuralDecisionForestClassifier(SMALL, random_state=0),
}


@pytest.mark.parametrize("name", ALL)
def test_logarithms_are_those_of_the_probabilities(name):
    fitted = ALL[name].fit(A, b)
    logs = fitted.predict_log_proba(A)
    assert logs.dtype == np.float64
    np.testing.assert_allclose(np.exp(logs), fitted.predict_proba(A), atol=1e-6)


def test_regressors_have_none():
    from skfusion.nets import mlp_regressor

    assert not hasattr(StackingFusion(mlp_regressor()), "predict_log_proba")
