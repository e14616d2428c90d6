"""Soups with aligned members, ReBasinMerger, and rebasin."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, ModelPool, ReBasinMerger, SoupClassifier, SoupRegressor, rebasin
from skfusion.align import ActivationMatching, MergeMany, OTFusion, SinkhornRebasin, WeightMatching
from skfusion.collect import Seeds
from skfusion.estimators.recipes._rebasin_merger import _excess
from skfusion.landscape import Profile
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.repair import Repair
from skfusion.state import distance

X, Y = load_iris(return_X_y=True)
VALUES = load_diabetes(return_X_y=True)
SMALL = {"max_epochs": 30, "module__hidden": (16,)}
NET = mlp_classifier(**SMALL)


def permuted_pool(k=3):
    """Return a pool of copies of one network with their units in unlike orders, and the network's estimator."""
    whole = SoupClassifier(NET, collect=Seeds(1), merge=Uniform(), align=WeightMatching(), random_state=0).fit(X, Y)
    member = whole.pool_[0]
    states = [whole.symmetry_.permute(whole.symmetry_.sample(seed), member.state) for seed in range(k)]
    return ModelPool(
        [member.replace(name=f"copy-{i}", state=s) for i, s in enumerate(states)], classes=[0, 1, 2]
    ), whole


@pytest.mark.filterwarnings("ignore::skfusion.pool.LeakageWarning")
@pytest.mark.parametrize("align", [WeightMatching(), MergeMany(), ActivationMatching()])
def test_soup_of_permuted_copies_is_the_network(align):
    pool, whole = permuted_pool()
    soup = SoupClassifier(collect=pool, align=align, merge=Uniform()).fit(X, Y)
    np.testing.assert_allclose(soup.predict_proba(X), whole.predict_proba(X), atol=1e-5)
    assert soup.alignments_.keys() == set(pool.names)
    assert [*soup.symmetry_.groups]
    plain = SoupClassifier(collect=pool, merge=Uniform()).fit(X, Y)
    assert np.abs(plain.predict_proba(X) - whole.predict_proba(X)).max() > 1e-2
    assert plain.alignments_ is None
    assert plain.symmetry_ is None


def test_alignment_is_a_parameter_of_a_search():
    pool, _ = permuted_pool()
    grid = {"align": [None, WeightMatching()], "merge": [Uniform(), Greedy()]}
    search = GridSearchCV(SoupClassifier(NET, collect=Seeds(2), random_state=0), grid, cv=2).fit(X, Y)
    scores = dict(zip(map(str, search.cv_results_["params"]), search.cv_results_["mean_test_score"], strict=True))
    assert len(scores) == 4
    assert len(pool) == 3


def test_the_pool_keeps_the_members_as_they_were_trained():
    soup = SoupClassifier(NET, collect=Seeds(2), align=WeightMatching(), merge=Uniform(), random_state=0).fit(X, Y)
    plain = SoupClassifier(NET, collect=Seeds(2), merge=Uniform(), random_state=0).fit(X, Y)
    for a, b in zip(soup.pool_, plain.pool_, strict=True):
        assert distance(a.state, b.state) == 0
    assert not (soup.alignments_["seed-1"]["layers.0.weight:0"] == np.arange(16)).all()


def test_regression_and_three_members():
    soup = SoupRegressor(
        mlp_regressor(), collect=Seeds(3), align=MergeMany(), merge=Uniform(), repair=Repair(), random_state=0
    )
    assert soup.fit(*VALUES).score(*VALUES) > 0.5


@pytest.mark.parametrize(
    "align",
    ["weights", "activations", MergeMany(), OTFusion(), OTFusion(cost="activations"), SinkhornRebasin(n_steps=30)],
)
def test_merger_lowers_the_barrier(align):
    merger = ReBasinMerger(mlp_classifier(), align=align, random_state=0).fit(X, Y)
    assert merger.barrier_.keys() == {"before", "after"}
    assert 0 <= merger.barrier_["after"] < merger.barrier_["before"]
    assert merger.score(X, Y) > 0.9
    assert len(merger.pool_) == 2
    assert merger.estimator_.predict(X[:3].astype(np.float32)).shape == (3,)


def test_merger_follows_the_net():
    assert is_classifier(ReBasinMerger())
    assert is_classifier(ReBasinMerger(NET))
    regressor = ReBasinMerger(mlp_regressor(), n_members=3, random_state=0)
    assert is_regressor(regressor)
    assert not hasattr(regressor, "predict_proba")
    regressor.fit(*VALUES)
    assert regressor.score(*VALUES) > 0.4
    assert regressor.predict(VALUES[0][:5]).shape == (5,)


def test_merger_takes_fitted_nets_and_pools():
    nets = [
        NeuralNetClassifier(
            nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3)), criterion=nn.CrossEntropyLoss, verbose=0,
            optimizer=torch.optim.Adam, lr=0.02, max_epochs=60, train_split=None, iterator_train__shuffle=True,
        ).fit(X[::2].astype(np.float32), Y[::2])
        for _ in range(2)
    ]  # fmt: skip
    merger = ReBasinMerger(members=nets).fit(X[1::2], Y[1::2])
    assert merger.pool_.names == ["net-0", "net-1"]
    assert merger.score(X, Y) > 0.8
    pool = ModelPool.from_estimators(nets)
    again = ReBasinMerger(members=pool).fit(X[1::2], Y[1::2])
    np.testing.assert_array_equal(again.predict_proba(X), merger.predict_proba(X))
    third = ReBasinMerger(nets[0]).fuse(pool, X[1::2], Y[1::2])
    np.testing.assert_array_equal(third.predict_proba(X), merger.predict_proba(X))
    assert clone(merger).members is not None


def test_merger_without_barrier_and_repair():
    merger = ReBasinMerger(NET, n_points=0, repair=False, random_state=0).fit(X, Y)
    assert merger.barrier_ is None
    one = ReBasinMerger(NET, n_members=1, random_state=0).fit(X, Y)
    assert one.barrier_ is None
    np.testing.assert_array_equal(
        one.predict_proba(X), EnsembleClassifier(NET, collect=Seeds(1), random_state=0).fit(X, Y).predict_proba(X)
    )


def test_merger_takes_numpy_numbers_and_none():
    one = ReBasinMerger(NET, n_members=np.int64(2), n_points=np.int64(3), random_state=0).fit(X, Y)
    assert len(one.pool_) == 2
    plain = ReBasinMerger(NET, align=None, repair=None, n_points=3, random_state=0).fit(X, Y)
    assert plain.alignments_ is None
    assert plain.barrier_["before"] == plain.barrier_["after"]
    search = GridSearchCV(ReBasinMerger(NET, n_points=0, random_state=0), {"align": [None, "weights"]}, cv=2).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_clone_of_fitted_nets_says_what_to_give():
    net = NeuralNetClassifier(nn.Linear(4, 3), criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0)
    merger = clone(ReBasinMerger(members=[net.fit(X.astype(np.float32), Y)]))
    with pytest.raises(ValueError, match=r"unfits nets in a list: give members=ModelPool.from_estimators\(nets\)"):
        merger.fit(X, Y)


def test_a_network_without_hidden_units_is_warned_of():
    class Linear(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.last = nn.Linear(n_in, n_out)

        def forward(self, X):
            return self.last(X)

    net = NeuralNetClassifier(Linear, criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None, verbose=0)
    with pytest.warns(UserWarning, match="No units of Linear can change places"):
        ReBasinMerger(net, n_points=0, random_state=0).fit(X, Y)


def test_recurrent_networks_with_a_last_chunk_of_one_row():
    class Recurrent(nn.Module):
        def __init__(self, n_out):
            super().__init__()
            self.cell, self.last = nn.LSTM(2, 6, batch_first=True), nn.Linear(6, n_out)

        def forward(self, X):
            return self.last(self.cell(X)[0][:, -1])

    rows, codes = np.random.RandomState(0).normal(size=(129, 5, 2)).astype(np.float32), np.arange(129) % 3
    net = NeuralNetClassifier(Recurrent, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0)
    merger = ReBasinMerger(net, align="activations", n_points=0, random_state=0).fit(rows, codes)
    assert merger.predict(rows).shape == (129,)


def test_a_soft_alignment_is_judged_by_the_loss_of_the_members():
    """Units that are mixed to the mean of all compute nothing: the barrier must not fall because one end is bad."""
    pool = SoupClassifier(mlp_classifier(), collect=Seeds(2), merge=Uniform(), random_state=0).fit(X, Y).pool_
    even = ReBasinMerger(members=pool, align=OTFusion(reg=100.0), random_state=0).fit(X, Y)
    hard = ReBasinMerger(members=pool, align=OTFusion(), random_state=0).fit(X, Y)
    assert even.barrier_["after"] > max(even.barrier_["before"], 10 * hard.barrier_["after"])
    assert even.barrier_["before"] == hard.barrier_["before"]


def test_the_barrier_is_over_the_line_from_the_first_loss_to_the_second():
    t = np.array([0.0, 0.25, 1.0])
    own = Profile(t, np.array([1.0, 1.2, 3.0]), np.zeros(3))
    mixed = Profile(t, np.array([1.0, 2.0, 3.1]), np.zeros(3))  # the second member got worse when it was mixed
    assert _excess(mixed, own) == pytest.approx(2.0 - (0.75 * 1.0 + 0.25 * 3.0))
    assert _excess(own, own) == own.barrier == 0


def test_a_soup_takes_soft_alignments():
    soup = SoupClassifier(NET, collect=Seeds(3), align=OTFusion(reg=0.02), merge=Greedy(), random_state=0).fit(X, Y)
    again = pickle.loads(pickle.dumps(soup))
    np.testing.assert_array_equal(again.predict_proba(X), soup.predict_proba(X))
    assert max(soup.alignments_["seed-1"].sum_errors().values()) <= 1e-9
    assert again.alignments_["seed-1"] == soup.alignments_["seed-1"]


def test_merger_pickles():
    merger = ReBasinMerger(NET, random_state=0).fit(X, Y)
    again = pickle.loads(pickle.dumps(merger))
    np.testing.assert_array_equal(again.predict_proba(X), merger.predict_proba(X))
    assert again.barrier_ == merger.barrier_
    assert again.symmetry_.groups == merger.symmetry_.groups


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"align": "nothing"}, r"align must be one of \['weights', 'activations'\], or an Aligner; got 'nothing'"),
        ({"members": (n for n in ())}, "members must be a ModelPool or a list of fitted skorch nets"),
        ({"members": NET}, "members must be a ModelPool or a list"),
        ({"align": 3}, r"align must be a component, such as WeightMatching\(\)"),
        ({"align": WeightMatching}, r"Write WeightMatching\(\)"),
        ({"n_members": 0}, "n_members must be at least 1"),
        ({"n_points": 1}, "n_points must be 0, or at least 3"),
        ({"n_points": 2}, "n_points must be 0, or at least 3"),
        ({"repair": "yes"}, "repair must be a component"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ReBasinMerger(NET, **params).fit(X, Y)


def test_unlike_code_with_like_tensors_is_refused():
    def net(between):
        module = nn.Sequential(nn.Linear(4, 12), between, nn.Linear(12, 3))
        return NeuralNetClassifier(
            module, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0
        ).fit(X.astype(np.float32), Y)

    with pytest.raises(
        ValueError, match="'net-0' and 'net-1' have tensors of the same names and different code: ReLU and Tanh at '1'"
    ):
        ReBasinMerger(members=[net(nn.ReLU()), net(nn.Tanh())]).fit(X, Y)


def test_unlike_architectures_are_refused():
    pools = [
        EnsembleClassifier(mlp_classifier(**{**SMALL, "module__hidden": (n,)}), collect=Seeds(1)).fit(X, Y).pool_
        for n in (8, 9)
    ]
    both = ModelPool([p[0].replace(name=f"m{i}") for i, p in enumerate(pools)], classes=[0, 1, 2])
    with pytest.raises(ValueError, match="has shape"):
        ReBasinMerger(members=both).fit(X, Y)


# ---- without scikit-learn ------------------------------------------------------------------------------------------


def test_rebasin_of_states():
    a, b = (nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval() for _ in range(2))
    x = torch.randn(9, 3, dtype=torch.float64)
    for align in (None, WeightMatching(), ActivationMatching()):
        moved = rebasin(a.state_dict(), b.state_dict(), a, x, align=align)
        torch.testing.assert_close(torch.func.functional_call(b, moved, (x,)), b(x), rtol=0, atol=1e-12)
        if not isinstance(align, ActivationMatching):
            assert distance(moved, a.state_dict()) <= distance(b.state_dict(), a.state_dict())
    moved = rebasin(a.state_dict(), b.state_dict(), a, x, align=ActivationMatching(), data=[x[:4], x[4:]])
    assert moved.keys() == a.state_dict().keys()


def test_rebasin_of_modules_with_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.last = nn.Linear(3, 7), nn.Linear(2, 7), nn.Linear(7, 2)

        def forward(self, x, z):
            return self.last((self.a(x) + self.b(z)).relu())

    a, b = Two().double().eval(), Two().double().eval()
    x, z = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    for example in ((x, z), (x, {"z": z}), {"x": x, "z": z}):
        moved = rebasin(a.state_dict(), b.state_dict(), a, example, align=ActivationMatching())
        torch.testing.assert_close(torch.func.functional_call(b, moved, (x, z)), b(x, z), rtol=0, atol=1e-12)


def test_rebasin_of_what_cannot_move():
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    with pytest.warns(UserWarning, match="No units of Linear can change places"):
        moved = rebasin(a.state_dict(), b.state_dict(), a, torch.randn(4, 3))
    assert all(torch.equal(moved[k], v) for k, v in b.state_dict().items())


def test_rebasin_with_a_declared_symmetry():
    a, b = (nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval() for _ in range(2))
    x = torch.randn(9, 3, dtype=torch.float64)
    axes = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")}
    found = rebasin(a.state_dict(), b.state_dict(), a, x, axes=axes)
    expected = rebasin(a.state_dict(), b.state_dict(), a, x)
    assert all(torch.equal(found[k], expected[k]) for k in expected)
