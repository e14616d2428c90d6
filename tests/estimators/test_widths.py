"""Soups of members whose hidden layers have different widths."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import ModelPool, ReBasinMerger, SoupClassifier, SoupRegressor
from skfusion.align import Aligner, OTFusion, Transport, WeightMatching
from skfusion.collect import Hyper, Seeds
from skfusion.estimators.support import _far_below
from skfusion.merge import PFNM, Barycenter, FedMA, Uniform, ZipIt
from skfusion.nets import mlp_classifier, mlp_regressor, tabular_classifier
from skfusion.repair import Repair
from skfusion.select import TopK
from skfusion.symmetry import resized_symmetry, sizes_of

X, Y = load_breast_cancer(return_X_y=True)
TRAIN, TEST = slice(0, 300), slice(300, None)
NETS = {n: mlp_classifier(max_epochs=8, module__hidden=(n,), lr=0.01, module__norm="batch") for n in (12, 16)}
pytestmark = pytest.mark.filterwarnings("error:The merged network scores")


def pool_of(nets, X, y, kind=SoupClassifier):
    """Return a pool with a member of each net, whose inputs are standardised alike."""
    pools = [kind(net, collect=Seeds(1), merge=Uniform(), random_state=i).fit(X, y).pool_ for i, net in enumerate(nets)]
    members = [pool[0].replace(name=f"of-{i}") for i, pool in enumerate(pools)]
    return ModelPool(members, classes=pools[0].classes)


@pytest.fixture(scope="module")
def pool():
    return pool_of(NETS.values(), X[TRAIN], Y[TRAIN])


def widths(soup):
    return [t.shape[0] for name, t in soup.state_.items() if name == "layers.0.weight"]


MERGERS = [
    (Barycenter(), 12),
    (Barycenter(width=16), 16),
    (Barycenter(width={"layers.0": 20}), 20),
    (ZipIt(), 12),
    (ZipIt(ratio=0.0), 28),
    (ZipIt(until="layers.0"), 28),
]


@pytest.mark.parametrize(("merge", "width"), MERGERS, ids=repr)
def test_a_wide_and_a_narrow_member_become_one_network(pool, merge, width):
    soup = SoupClassifier(collect=pool, merge=merge).fit(X[TEST], Y[TEST])
    assert widths(soup) == [width]
    assert soup.score(X[TEST], Y[TEST]) > 0.85
    net = soup.estimator_
    assert net.module_.layers[0].out_features == width
    np.testing.assert_array_equal(net.predict(X[TEST].astype(np.float32)), soup.predict(X[TEST]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(soup)).predict_proba(X), soup.predict_proba(X))
    assert not hasattr(clone(soup), "state_")
    again = clone(soup).fuse(pool, X[TEST], Y[TEST])
    np.testing.assert_allclose(again.predict_proba(X), soup.predict_proba(X), atol=1e-6)


def test_the_other_order_of_members_and_an_estimator_of_either_width(pool):
    for net in (None, *NETS.values()):
        soup = SoupClassifier(net, collect=pool[[1, 0]], merge=Barycenter()).fit(X[TEST], Y[TEST])
        assert widths(soup) == [16]
        assert soup.score(X[TEST], Y[TEST]) > 0.85


@pytest.mark.parametrize("merge", [PFNM(sigma=0.3, correct=True), FedMA(sigma=0.3)], ids=repr)
def test_units_that_are_matched_by_a_process_may_be_of_members_of_different_widths(pool, merge):
    soup = SoupClassifier(collect=pool, merge=merge).fit(X[TEST], Y[TEST])
    assert 16 <= widths(soup)[0] <= 28
    assert soup.score(X[TEST], Y[TEST]) > 0.85


def test_a_fitted_soup_of_another_width_goes_on_training(pool):
    soup = SoupClassifier(collect=pool, merge=Barycenter(width=14)).fit(X[TEST], Y[TEST])
    net = soup.estimator_.set_params(max_epochs=2)
    net.partial_fit(X[TRAIN].astype(np.float32), Y[TRAIN])
    assert net.module_.layers[0].out_features == 14


@pytest.mark.parametrize("merge", [Barycenter(width=10), ZipIt(ratio=0.6)], ids=repr)
def test_members_that_are_trained_here_become_a_network_of_another_width(merge):
    soup = SoupClassifier(NETS[12], collect=Seeds(2), merge=merge, refit=True, random_state=0)
    soup.fit(X[TRAIN], Y[TRAIN])
    assert widths(soup) == [10]
    assert widths(soup) != [m.state["layers.0.weight"].shape[0] for m in soup.pool_]
    assert soup.score(X[TEST], Y[TEST]) > 0.85
    assert soup.merge_report_["left_out"] == {}


@pytest.mark.parametrize("merge", [Barycenter(width=20), ZipIt(ratio=0.5)], ids=repr)
def test_one_fit_trains_members_of_different_widths_and_fuses_them(merge):
    collect = Hyper([{"module__hidden": (n,)} for n in (12, 16, 12)])
    soup = SoupClassifier(NETS[12], collect=collect, merge=merge, random_state=0).fit(X[TRAIN], Y[TRAIN])
    assert [m.state["layers.0.weight"].shape[0] for m in soup.pool_] == [12, 16, 12]
    assert widths(soup) == [20]
    assert soup.score(X[TEST], Y[TEST]) > 0.85
    scores = cross_val_score(clone(soup), X[TRAIN], Y[TRAIN], cv=2)
    assert scores.min() > 0.8


def test_a_choice_on_held_out_rows_is_refitted():
    soup = SoupClassifier(NETS[12], collect=Seeds(3), select=TopK(2), merge=Barycenter(16), refit=True, random_state=0)
    soup.fit(X[TRAIN], Y[TRAIN])
    assert widths(soup) == [16]
    assert len(soup.pool_) == 3
    assert soup.score(X[TEST], Y[TEST]) > 0.85


def test_the_default_net_for_tables_and_a_search_over_widths():
    net = tabular_classifier(max_epochs=3, module__hidden=(16, 8))
    soup = make_pipeline(StandardScaler(), SoupClassifier(net, collect=Seeds(2), merge=Barycenter(), random_state=0))
    search = GridSearchCV(soup, {"soupclassifier__merge__width": [8, 24]}, cv=2).fit(X[TRAIN], Y[TRAIN])
    best = search.best_estimator_[-1]
    assert best.state_["lines.weight"].shape[0] == search.best_params_["soupclassifier__merge__width"]
    assert search.score(X[TEST], Y[TEST]) > 0.8


def test_regression():
    A, b = make_regression(200, 5, noise=1.0, random_state=0)
    b = b / b.std()
    nets = [mlp_regressor(max_epochs=40, module__hidden=(n,), lr=0.02) for n in (16, 24)]
    pool = pool_of(nets, A, b, SoupRegressor)
    for merge in (Barycenter(width=24), ZipIt(ratio=0.3)):
        assert SoupRegressor(collect=pool, merge=merge, repair=Repair()).fit(A, b).score(A, b) > 0.5


@pytest.mark.filterwarnings("ignore:The merged network scores")
def test_random_labels_are_not_learned_by_fusing_networks_of_different_widths(pool):
    labels = np.random.RandomState(0).permutation(Y[TEST])
    score = SoupClassifier(collect=pool, merge=Barycenter()).fit(X[TEST], labels).score(X[TEST], labels)
    assert abs(score - 0.6) < 0.2


def test_units_in_another_order_change_nothing_and_naive_means_are_warned_of(pool):
    order = torch.from_numpy(np.random.RandomState(0).permutation(16))
    state = {k: v[order] if v.dim() and len(v) == 16 else v for k, v in pool[1].state.items()}
    last = [k for k, v in state.items() if v.dim() == 2][-1]
    state[last] = state[last][:, order]
    moved = pool.replace([pool[0], pool[1].replace(state=state)])
    for merge in (Barycenter(), ZipIt()):
        a, b = (SoupClassifier(collect=p, merge=merge).fit(X[TEST], Y[TEST]) for p in (pool, moved))
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-4)


class Even(Aligner):
    """Spreads each unit evenly over those of the reference: no sensible alignment, but one that changes widths."""

    takes_widths = True

    def __call__(self, state, reference, symmetry=None, objective=None):
        of_state, of_reference = (sizes_of(symmetry, s, "it") for s in (state, reference))
        plans = {g: np.full((of_state[g], of_reference[g]), 1 / of_state[g]) for g in of_state}
        return Transport.from_plans(plans, resized_symmetry(symmetry, of_state))


@pytest.mark.filterwarnings("ignore:The merged network scores")
def test_an_aligner_may_bring_members_to_the_width_of_the_first(pool):
    soup = SoupClassifier(collect=pool, align=Even(), merge=Uniform()).fit(X[TEST], Y[TEST])
    assert widths(soup) == [12]
    assert soup.alignments_["of-1"].apply(pool[1].state)["layers.0.weight"].shape == (12, 30)
    merger = ReBasinMerger(members=pool, align=Even()).fit(X[TEST], Y[TEST])
    assert merger.barrier_ is None
    with pytest.raises(ValueError, match="the member was trained with another architecture"):
        SoupClassifier(NETS[16], collect=pool, align=Even(), merge=Uniform()).fit(X[TEST], Y[TEST])


@pytest.mark.parametrize("align", [OTFusion(), OTFusion(cost="activations"), OTFusion(masses="importance")], ids=repr)
def test_optimal_transport_brings_members_to_the_width_of_the_first(pool, align):
    for members, width in ((pool, 12), (pool[[1, 0]], 16)):
        soup = SoupClassifier(collect=members, align=align, merge=Uniform()).fit(X[TEST], Y[TEST])
        assert widths(soup) == [width]
        assert soup.score(X[TEST], Y[TEST]) > 0.85
        assert soup.estimator_.module_.layers[0].out_features == width
        shapes = soup.alignments_[members[1].name].describe()[["size", "new size"]].values.tolist()
        assert shapes == [[28 - width, width]]
    merger = ReBasinMerger(members=pool, align=align).fit(X[TEST], Y[TEST])
    assert merger.barrier_ is None
    assert merger.score(X[TEST], Y[TEST]) > 0.85
    net = merger.estimator_.set_params(max_epochs=2)
    assert net.partial_fit(X[TRAIN].astype(np.float32), Y[TRAIN]).module_.layers[0].out_features == 12


def test_members_of_different_widths_are_collected_and_transported_in_one_fit():
    collect = Hyper([{"module__hidden": (n,)} for n in (12, 16, 10)])
    soup = SoupClassifier(NETS[12], collect=collect, align=OTFusion(), merge=Uniform(), random_state=0)
    soup.fit(X[TRAIN], Y[TRAIN])
    assert widths(soup) == [12]
    assert soup.score(X[TEST], Y[TEST]) > 0.85
    assert soup.member_weights_ == pytest.approx(dict.fromkeys(soup.pool_.names, 1 / 3))


@pytest.mark.filterwarnings("ignore:The merged network scores")
def test_random_labels_are_not_learned_by_transport(pool):
    labels = np.random.RandomState(0).permutation(Y[TEST])
    soup = SoupClassifier(collect=pool, align=OTFusion(cost="activations"), merge=Uniform()).fit(X[TEST], labels)
    assert abs(soup.score(X[TEST], labels) - 0.6) < 0.2


def test_a_recipe_that_aligns_by_itself_takes_them_unaligned(pool):
    merger = ReBasinMerger(members=pool, align=None, merge=Barycenter()).fit(X[TEST], Y[TEST])
    assert merger.barrier_ is None
    assert merger.score(X[TEST], Y[TEST]) > 0.85
    assert merger.member_weights_ == {"of-0": 0.5, "of-1": 0.5}


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"merge": Uniform()}, r"shape \(12, 30\) in member 'of-0' and \(16, 30\).*Barycenter or ZipIt"),
        ({}, "Barycenter or ZipIt"),
        ({"merge": Barycenter(), "align": WeightMatching()}, r"Leave it out: Barycenter\(\) matches"),
        ({"merge": Uniform(), "align": WeightMatching()}, "has shape"),
        ({"merge": Barycenter(), "select": TopK(1)}, r"TopK\(k=1\) judges members one beside the other"),
        ({"merge": Barycenter(width=0)}, "1 at least; got 0"),
        ({"merge": Barycenter(width={"layers.9": 3})}, "'layers.9' is no layer and no group"),
    ],
)
def test_what_cannot_be_done_with_members_of_different_widths(pool, params, match):
    with pytest.raises(ValueError, match=match):
        SoupClassifier(collect=pool, **params).fit(X[TEST], Y[TEST])


class OwnBias(nn.Module):
    """Holds units itself, so that nothing is known of what else depends on their number."""

    def __init__(self, width=8):
        super().__init__()
        self.a, self.own, self.out = nn.Linear(4, width), nn.Parameter(torch.zeros(1, width)), nn.Linear(width, 2)

    def forward(self, x):
        return self.out(torch.relu(self.a(x) + self.own))


def test_members_of_a_module_that_cannot_be_resized_are_fused_into_the_width_of_the_first():
    X = np.random.RandomState(0).randn(100, 4).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    net = NeuralNetClassifier(
        OwnBias, criterion=nn.CrossEntropyLoss, max_epochs=10, lr=0.5, train_split=None, verbose=0
    )
    members = Hyper([{"module__width": 8}, {"module__width": 12}])
    soup = SoupClassifier(net, collect=members, merge=Barycenter(), random_state=0).fit(X, y)
    assert soup.estimator_.module_.a.out_features == 8
    assert soup.score(X, y) > 0.8
    with pytest.raises(ValueError, match="OwnBias itself holds units"):
        SoupClassifier(net, collect=members, merge=Barycenter(width=10), random_state=0).fit(X, y)


def test_a_member_of_another_depth_is_refused(pool):
    deep = pool_of([mlp_classifier(max_epochs=1, module__hidden=(12, 12), module__norm="batch")], X[TRAIN], Y[TRAIN])
    mixed = pool.replace([pool[0], deep[0].replace(name="deep")])
    with pytest.raises(ValueError, match="is missing in member"):
        SoupClassifier(collect=mixed, merge=Barycenter()).fit(X[TEST], Y[TEST])


def test_remedies_of_a_poor_result_are_those_that_members_of_these_widths_can_take(pool, monkeypatch):
    monkeypatch.setattr(_far_below, "_KEPT", 2.0)  # all are far below
    with pytest.warns(_far_below.FarBelowWarning, match="partial_fit.*EnsembleClassifier") as told:
        soup = SoupClassifier(collect=pool, merge=Barycenter()).fit(X[TEST], Y[TEST])
    assert not any("align=" in str(w.message) or "Greedy" in str(w.message) for w in told)
    soup.estimator_.partial_fit(X[TEST].astype("float32"), Y[TEST])
    twins = pool.replace([pool[0], pool[0].replace(name="twin")])
    with pytest.warns(_far_below.FarBelowWarning, match="partial_fit.*Greedy.*EnsembleClassifier"):
        SoupClassifier(collect=twins, merge=Barycenter()).fit(X[TEST], Y[TEST])
