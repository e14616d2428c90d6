"""Members of half precision run in the precision of the net, and nets of half precision predict."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from skfusion import (
    CurveClassifier,
    EnsembleClassifier,
    EnsembleRegressor,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    nets,
)
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.connect import Bezier
from skfusion.diagnose import diagnose
from skfusion.merge import Fisher, Greedy, Learned, Uniform
from skfusion.nets import Runner, mlp_classifier

X, y = load_iris(return_X_y=True)
NET = mlp_classifier(max_epochs=20, module__hidden=(16,))
HALF = {"bfloat16": (torch.bfloat16,) * 3, "float16": (torch.float16,) * 3}
MIXED = {"narrow first": (torch.bfloat16, torch.float32, torch.float16)}
MIXED |= {"wide first": (torch.float32, torch.float16, torch.bfloat16)}


def in_dtype(state, dtype):
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


def cast(pool, dtypes):
    """Return a pool in other precisions, with no record of its rows: all are looked at here, as nothing is judged."""
    return pool.replace(
        [m.replace(state=in_dtype(m.state, dtype), rows=None) for m, dtype in zip(pool, dtypes, strict=True)]
    )


@pytest.fixture(scope="module")
def pool():
    return EnsembleClassifier(NET, collect=Seeds(3), random_state=0).fit(X, y).pool_


@pytest.mark.parametrize("dtypes", [*HALF.values(), *MIXED.values()], ids=[*HALF, *MIXED])
def test_predictions_are_those_of_single_precision_but_for_rounding(pool, dtypes):
    single = EnsembleClassifier().fuse(cast(pool, (torch.float32,) * 3), X, y)
    narrow = EnsembleClassifier().fuse(cast(pool, dtypes), X, y)
    assert narrow.predict_proba(X).dtype == np.float32
    rounding = max(torch.finfo(dtype).eps for dtype in dtypes)
    # three layers of numbers of size one to ten, each off by half of the rounding: some ten of it in a logit
    np.testing.assert_allclose(narrow.predict_proba(X), single.predict_proba(X), atol=10 * rounding)
    runner = Runner(NET.set_params(module__n_in=4, module__n_out=3), "classification")
    for member, mine in zip(narrow.members_, narrow.predict_members(X), strict=True):
        widened = in_dtype(member.state, torch.float32)
        np.testing.assert_allclose(mine, runner.predict(widened, X.astype(np.float32)), atol=1e-6)


FUSIONS = {
    "uniform": SoupClassifier(merge=Uniform()),
    "greedy": SoupClassifier(merge=Greedy()),
    "learned": SoupClassifier(merge=Learned(n_steps=5, per_layer=True)),
    "fisher": SoupClassifier(merge=Fisher()),
    "aligned": SoupClassifier(align=WeightMatching(), merge=Uniform()),
    "curve": CurveClassifier(connect=Bezier(n_epochs=1)),
    "stacked": StackingFusion(),
}


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of")
@pytest.mark.parametrize("dtypes", [HALF["bfloat16"], *MIXED.values()], ids=["bfloat16", *MIXED])
@pytest.mark.parametrize("fusion", FUSIONS.values(), ids=FUSIONS)
def test_fusions_are_those_of_the_members_in_single_precision(pool, fusion, dtypes):
    narrow = cast(pool, dtypes)
    wide = narrow.replace([m.replace(state=in_dtype(m.state, torch.float32)) for m in narrow])
    found, expected = (fusion.fuse(members, X, y).predict_proba(X) for members in (narrow, wide))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_merged_network_has_the_dtypes_of_the_net(pool):
    narrow = cast(pool, HALF["bfloat16"])
    soup = SoupClassifier(merge=Uniform()).fuse(narrow, X, y)
    assert {t.dtype for t in soup.state_.values()} == {torch.float32}
    assert {t.dtype for m in soup.pool_ for t in m.state.values()} == {torch.bfloat16}  # what users hand in stays
    merged = Uniform()(narrow.states)
    assert {t.dtype for t in merged.values()} == {torch.bfloat16}  # as states are given, so they are returned
    np.testing.assert_allclose(soup.estimator_.predict_proba(X.astype(np.float32)), soup.predict_proba(X), atol=1e-6)


def test_half_precision_is_diagnosed(pool):
    found = diagnose(cast(pool, HALF["bfloat16"]), X, y)
    assert [*found.members.index] == pool.names


def test_tied_tensors_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

        def forward(self, X):
            return self.b(self.a(X))

    runner = Runner(NeuralNetClassifier(Tied, criterion=nn.CrossEntropyLoss), "classification")
    tied = torch.ones(4, 4, dtype=torch.float16)
    placed = runner.place({"a.weight": tied, "b.weight": tied})
    assert placed["a.weight"] is placed["b.weight"]
    assert placed["a.weight"].dtype == torch.float32
    own = {"a.weight": torch.ones(4, 4), "b.weight": torch.zeros(4, 4)}
    assert all(t is own[k] for k, t in runner.place(own).items())  # nothing is copied that is right already


class HalfNet(nn.Sequential):
    """A network that is of half precision itself."""

    def __init__(self, n_in, n_out, dtype, normed):
        norm = [nn.BatchNorm1d(16)] if normed else []
        super().__init__(nn.Linear(n_in, 16, bias=not normed), *norm, nn.ReLU(), nn.Linear(16, n_out))
        self.to(dtype)


HOW = {"optimizer": torch.optim.SGD, "lr": 0.1, "max_epochs": 20, "train_split": None, "verbose": 0}


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("normed", [False, True])
def test_nets_of_half_precision(dtype, normed):
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    net = NeuralNetClassifier(HalfNet, module__dtype=dtype, module__normed=normed, criterion=nn.CrossEntropyLoss, **HOW)
    ensemble = EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(Z, y)
    assert ensemble.predict_proba(Z).dtype == np.float32
    np.testing.assert_allclose(ensemble.predict_proba(Z).sum(axis=1), 1, atol=1e-6)
    assert ensemble.score(Z, y) > 0.7
    for fusion in (SoupClassifier(net), SoupClassifier(net, merge=Learned(n_steps=3))):
        soup = fusion.fuse(cast(ensemble.pool_, (dtype, dtype)), Z, y)
        assert {t.dtype for t in soup.state_.values() if t.is_floating_point()} == {dtype}
        assert soup.score(Z, y) > 0.7


def test_regressors_of_half_precision():
    net = NeuralNetRegressor(HalfNet, module__dtype=torch.bfloat16, module__normed=False, **{**HOW, "lr": 0.01})
    for fusion in (EnsembleRegressor, SoupRegressor):
        fitted = fusion(net, collect=Seeds(1), random_state=0).fit(X, X[:, 0])
        assert fitted.predict(X).dtype == np.float32
        assert np.isfinite(fitted.predict(X)).all()
    assert nets.state_of(fitted.estimator_)["0.weight"].dtype == torch.bfloat16
