"""A fitted estimator as one module predicts what the estimator predicts, and is independent of it."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from skfusion import (
    BaggingFusion,
    BoostingFusion,
    CurveClassifier,
    DropoutEnsembleClassifier,
    EnsembleClassifier,
    EnsembleRegressor,
    ModelPool,
    SoupClassifier,
    SoupRegressor,
    WeightAveragingClassifier,
)
from skfusion.collect import Hyper, Seeds
from skfusion.combine import GeometricAverage, WeightedAverage
from skfusion.nets import (
    mlp_classifier,
    mlp_regressor,
    tabm_classifier,
    tabm_regressor,
    tabular_classifier,
    tabular_regressor,
)
from skfusion.pool import Member

X, CODES = make_classification(200, 8, n_informative=5, n_classes=3, random_state=0)
X = X.astype(np.float32)
NAMES = np.array(["c", "a", "b"])[CODES]
SHORT = {"max_epochs": 2}


def check(estimator, inputs=X, tolerance=1e-6):
    """Compare a module with its estimator, and the module as it is exported and traced with the module."""
    module = estimator.as_module()
    values = not hasattr(estimator, "predict_proba")
    expected = estimator.predict(inputs) if values else estimator.predict_proba(inputs)
    named = isinstance(inputs, dict)
    x = {k: torch.as_tensor(v) for k, v in inputs.items()} if named else torch.as_tensor(inputs)
    found = module(x)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert found.numpy().dtype == expected.dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)
    if not values:
        np.testing.assert_array_equal(module.classes_, estimator.classes_)
    few = {k: v[:5] for k, v in x.items()} if named else x[:5]
    one = {k: v[:1] for k, v in x.items()} if named else x[:1]
    rows = {0: torch.export.Dim("n_rows")}
    exported = torch.export.export(module, (few,), dynamic_shapes=(dict.fromkeys(x, rows) if named else rows,)).module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole
        traced = torch.jit.trace(module, (few,))
    for other in (exported, traced):
        for part in (x, one):
            torch.testing.assert_close(other(part), module(part), rtol=1e-5, atol=1e-6)
    return module


# ---- estimators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "net",
    [
        mlp_classifier(**SHORT),
        mlp_classifier(module__norm="batch", module__dropout=0.2, **SHORT),
        tabular_classifier(**SHORT),
        tabm_classifier(k=4, **SHORT),
    ],
    ids=["plain", "BatchNorm", "tabular", "TabM"],
)
def test_ensembles_of_classifiers(net):
    check(EnsembleClassifier(net, collect=Seeds(3), random_state=0).fit(X, NAMES))


@pytest.mark.parametrize("net", [mlp_regressor(**SHORT), tabular_regressor(**SHORT), tabm_regressor(k=4, **SHORT)])
def test_ensembles_of_regressors(net):
    X, y = make_regression(150, 6, n_targets=2, random_state=0)
    check(EnsembleRegressor(net, collect=Seeds(2), random_state=0).fit(X, y), X.astype(np.float32), 1e-5)


def test_soups_and_recipes():
    net = mlp_classifier(max_epochs=4, module__norm="batch")
    check(SoupClassifier(net, random_state=0).fit(X, NAMES))
    check(WeightAveragingClassifier(net, random_state=0).fit(X, NAMES))
    check(CurveClassifier(net, n_points=3, random_state=0).fit(X, NAMES))


def test_members_that_see_some_of_the_columns():
    bagged = BaggingFusion(mlp_classifier(**SHORT), n_members=3, max_features=0.5, random_state=0)
    check(bagged.fit(X, NAMES))


def test_targets_far_from_zero_are_in_their_units():
    y = 1e6 + X[:, 0] + 0.1 * np.random.RandomState(0).normal(size=len(X))
    for estimator in (
        SoupRegressor(mlp_regressor(**SHORT), random_state=0),
        EnsembleRegressor(mlp_regressor(**SHORT), collect=Seeds(2), random_state=0),
    ):
        estimator.fit(X, y)
        assert estimator._outputs.scale is not None
        module = check(estimator, tolerance=1e-12)
        assert np.ptp(module(torch.from_numpy(X)).numpy()) > 1e-3


def test_several_labels_a_row():
    X, Y = make_multilabel_classification(150, 6, n_classes=3, random_state=0)
    net = mlp_classifier(multilabel=True, **SHORT)
    for combine in (None, GeometricAverage()):
        check(EnsembleClassifier(net, collect=Seeds(2), combine=combine, random_state=0).fit(X, Y), np.float32(X))


class OneLogit(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, 5), nn.ReLU(), nn.Linear(5, 1))

    def forward(self, X):
        return self.layers(X)[:, 0]


class Probabilities(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, n_out), nn.Softmax(dim=1))

    def forward(self, X):
        return self.layers(X)


@pytest.mark.parametrize("combine", [None, GeometricAverage(weights=[1, 0, 2])], ids=["mean", "logarithms"])
def test_outputs_are_read_as_the_criterion_says(combine):
    one = NeuralNetClassifier(OneLogit, criterion=nn.BCEWithLogitsLoss, train_split=None, verbose=0, **SHORT)
    given = NeuralNetClassifier(Probabilities, criterion=nn.NLLLoss, train_split=None, verbose=0, **SHORT)
    asked = NeuralNetClassifier(
        nn.Linear,
        module__in_features=8,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        predict_nonlinearity=nn.Softmax(dim=-1),
        train_split=None,
        verbose=0,
        **SHORT,
    )
    for net, y in ((one, NAMES == "a"), (given, NAMES), (asked, NAMES)):
        check(EnsembleClassifier(net, collect=Seeds(3), combine=combine, random_state=0).fit(X, y))


def test_classes_that_a_net_names_in_another_order():
    net = mlp_classifier(classes=["b", "c", "a"], **SHORT)
    ensemble = EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(X, NAMES)
    assert ensemble._outputs.order is not None
    check(ensemble)
    check(EnsembleClassifier(net, collect=Seeds(2), combine=WeightedAverage(), random_state=0).fit(X, NAMES))


def test_members_of_several_architectures_keep_their_weights():
    collect = Hyper({"module__hidden": [(4,), (8,), (4, 4)], "lr": [0.01]}, n_members=3)
    combine = WeightedAverage()
    ensemble = EnsembleClassifier(mlp_classifier(**SHORT), collect=collect, combine=combine, random_state=0)
    check(ensemble.fit(X, NAMES))


def test_networks_in_double_precision():
    class Double(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.layer = nn.Linear(n_in, n_out, dtype=torch.float64)

        def forward(self, X):
            return self.layer(X.double())

    net = NeuralNetRegressor(Double, train_split=None, verbose=0, **SHORT)
    check(EnsembleRegressor(net, collect=Seeds(2), random_state=0).fit(X, X[:, 0]), tolerance=1e-12)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(10, 4), nn.Linear(4 + 8, 3)

    def forward(self, words, numbers):
        return {"logits": self.head(torch.cat([self.table(words).mean(1), numbers], 1))}


def test_inputs_by_name():
    net = NeuralNetClassifier(Words, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0, **SHORT)
    inputs = {"words": np.random.RandomState(0).randint(10, size=(len(X), 4)), "numbers": X}
    check(EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(inputs, NAMES), inputs)


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyConv1d(4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))

    def forward(self, X):
        return self.layers(X.unsqueeze(1))


def test_lazy_layers():
    net = NeuralNetClassifier(Lazy, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0, **SHORT)
    module = check(EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(X, NAMES))
    assert not any(isinstance(part, nn.BatchNorm1d) for part in module.modules())


def test_inputs_of_other_dtypes_are_those_of_the_estimator():
    ensemble = EnsembleClassifier(mlp_classifier(**SHORT), collect=Seeds(2), random_state=0).fit(X, NAMES)
    module, wide = ensemble.as_module(), X.astype(np.float64) + 1e-9
    np.testing.assert_allclose(module(torch.from_numpy(wide)).numpy(), ensemble.predict_proba(wide), atol=1e-6)
    whole = np.rint(X).astype(np.int64)
    np.testing.assert_allclose(module(torch.from_numpy(whole)).numpy(), ensemble.predict_proba(whole), atol=1e-6)


def test_torchscript_takes_modules_that_it_can_read():
    module = EnsembleClassifier(mlp_classifier(**SHORT), collect=Seeds(2), random_state=0).fit(X, NAMES).as_module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(module)
    torch.testing.assert_close(scripted(torch.from_numpy(X)), module(torch.from_numpy(X)))


# ---- what is left as it was found ------------------------------------------------------------------------------------


def test_a_module_and_its_estimator_share_nothing():
    start = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    before = copy.deepcopy(start.state_dict())
    net = NeuralNetClassifier(start, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0, **SHORT)
    for estimator in (SoupClassifier(net, random_state=0), EnsembleClassifier(net, collect=Seeds(2), random_state=0)):
        expected = estimator.fit(X, NAMES).predict_proba(X)
        before_module = torch.random.get_rng_state()
        module = estimator.as_module()
        assert torch.equal(before_module, torch.random.get_rng_state())
        with torch.no_grad():
            for tensor in [*module.parameters(), *module.buffers()]:
                tensor.zero_()
        np.testing.assert_array_equal(estimator.predict_proba(X), expected)
        np.testing.assert_allclose(estimator.as_module()(torch.from_numpy(X)).numpy(), expected, atol=1e-6)
    for key, value in start.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_module_is_pickled():
    module = EnsembleClassifier(mlp_classifier(**SHORT), collect=Seeds(2), random_state=0).fit(X, NAMES).as_module()
    torch.testing.assert_close(copy.deepcopy(module)(torch.from_numpy(X)), module(torch.from_numpy(X)))


# ---- what no module can be -------------------------------------------------------------------------------------------


def test_members_that_are_no_networks_are_named():
    pool = ModelPool([Member("forest", estimator=LogisticRegression().fit(X, NAMES))], classes=np.unique(NAMES))
    ensemble = EnsembleClassifier().fuse(pool, X, NAMES)
    with pytest.raises(ValueError, match="Member 'forest' is no network but LogisticRegression"):
        ensemble.as_module()


def test_dropout_and_boosting_say_why_not():
    net = mlp_classifier(module__dropout=0.3, **SHORT)
    with pytest.raises(ValueError, match="draws masks"):
        DropoutEnsembleClassifier(net, n_passes=2, random_state=0).fit(X, NAMES).as_module()
    with pytest.raises(ValueError, match="cannot be part of a module"):
        BoostingFusion(net, n_members=2, random_state=0).fit(X, NAMES).as_module()


def test_an_unfitted_estimator_is_no_module():
    with pytest.raises(Exception, match="not fitted"):
        SoupClassifier().as_module()
