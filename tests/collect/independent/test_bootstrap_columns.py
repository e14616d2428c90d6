"""Members that see columns of their own."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import (
    BaggingFusion,
    CurveClassifier,
    EnsembleClassifier,
    ModelPool,
    SoupClassifier,
    SoupRegressor,
    nets,
    rebasin,
)
from skfusion._rows import Rows
from skfusion.align import WeightMatching
from skfusion.collect import Bootstrap, Seeds
from skfusion.diagnose import diagnose, pairwise
from skfusion.landscape import segment
from skfusion.merge import Uniform
from skfusion.nets import MLP, OnColumns, Runner, mlp_classifier, mlp_regressor, on_columns, with_columns_of

rng = np.random.RandomState(0)
X = rng.normal([0, 3, -5, 10, 0, 1], [1, 2, 3, 4, 5, 6], size=(90, 6)).astype(np.float32)
y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 3)
t = X[:, :2].sum(axis=1, keepdims=True)


def net(**params):
    return mlp_classifier(**{"max_epochs": 4, "module__hidden": (8,), "lr": 0.02, **params})


def collected(collect, of=None, seed=0):
    return collect.collect(net() if of is None else of, X, y, random_state=seed)


@pytest.mark.parametrize(("asked", "n"), [(0.5, 3), (2, 2), (0.1, 1), (1, 1), (0.99, 5), (np.int64(4), 4)])
def test_each_member_has_columns_of_its_own(asked, n):
    pool = collected(Bootstrap(6, max_features=asked))
    columns = [m.meta["columns"] for m in pool]
    assert all(len(c) == n and c == sorted(set(c)) and set(c) <= set(range(6)) for c in columns)
    assert len({tuple(c) for c in columns}) > 1
    assert [m.state["columns"].tolist() for m in pool] == columns
    assert columns == [m.meta["columns"] for m in collected(Bootstrap(6, max_features=asked))]
    assert columns != [m.meta["columns"] for m in collected(Bootstrap(6, max_features=asked), seed=1)]


@pytest.mark.parametrize("asked", [1.0, 6])
def test_all_columns_are_the_plain_net(asked):
    pool, plain = collected(Bootstrap(2, max_features=asked)), collected(Bootstrap(2))
    for a, b in zip(pool, plain, strict=True):
        assert all(torch.equal(v, a.state[k]) for k, v in b.state.items())
        assert "columns" not in a.meta


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_a_member_is_a_run_on_its_columns(kind):
    """A net that is given the columns alone, with their scaling, trains to the same weights."""
    whole, target, task = (net(), y, "classification") if kind == "classifier" else (
        mlp_regressor(max_epochs=4), t, "regression"
    )  # fmt: skip
    pool = Bootstrap(2, max_features=0.5, bootstrap=False, vectorize=False).collect(whole, X, target, random_state=3)
    for member in pool:
        rows = Rows(X[:, member.meta["columns"]], target)
        alone = nets.fit(nets.sized(whole, rows, 3 if task == "classification" else 1), rows, member.meta["seed"])
        state = nets.state_of(alone)
        assert {f"on_columns.{k}" for k in state} | {"columns"} == set(member.state)
        for key, value in state.items():
            torch.testing.assert_close(member.state[f"on_columns.{key}"], value, rtol=1e-5, atol=1e-6)


def test_what_a_member_does_not_see_does_not_count():
    fitted = BaggingFusion(net(), n_members=5, max_features=0.5, random_state=0).fit(X, y)
    before = fitted.predict_members(X)
    for j in range(6):
        other = X.copy()
        other[:, j] += 100 + np.arange(90)
        changed = np.abs(fitted.predict_members(other) - before).reshape(5, -1).max(axis=1) > 0
        assert changed.tolist() == [j in m.meta["columns"] for m in fitted.pool_]


def test_a_stack_trains_the_same_members():
    one, many = (collected(Bootstrap(4, max_features=0.5, vectorize=s)) for s in (False, True))  # a fallback would warn
    for a, b in zip(one, many, strict=True):
        assert a.meta["columns"] == b.meta["columns"]
        for key, value in a.state.items():
            torch.testing.assert_close(b.state[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 7, 90])
def test_few_rows_and_many(n_rows):
    pool = collected(Bootstrap(5, max_features=0.5))
    fitted = EnsembleClassifier(net()).fuse(pool, X, y)
    alone = [Runner(m.net, "classification").predict(m.state, X[:n_rows]) for m in pool]
    np.testing.assert_allclose(fitted.predict_members(X[:n_rows]), alone, atol=1e-6)
    skorch = [e.predict_proba(X[:n_rows]) for e in fitted.estimators_]
    np.testing.assert_allclose(skorch, alone, atol=1e-6)


def test_pools_are_saved_and_fused_anew(tmp_path):
    fitted = BaggingFusion(net(), n_members=4, max_features=0.5, random_state=0).fit(X, y)
    expected = fitted.predict_proba(X)
    fitted.pool_.save(tmp_path / "pool")
    loaded = ModelPool.load(tmp_path / "pool")
    with_net = ModelPool.load(tmp_path / "pool", net=net())
    again = [
        BaggingFusion(net(), max_features=0.5).fuse(fitted.pool_, X, y),
        EnsembleClassifier(net()).fuse(loaded, X, y),
        EnsembleClassifier().fuse(with_net, X, y),
        EnsembleClassifier(collect=fitted.pool_).fit(X, y),
        EnsembleClassifier().fuse(ModelPool.from_estimators(fitted.estimators_), X, y),
    ]
    for other in again:
        np.testing.assert_allclose(other.predict_proba(X), expected, atol=1e-6)
    one = SoupClassifier(net(), merge=Uniform()).fuse(fitted.pool_[:1], X, y)
    np.testing.assert_allclose(one.predict_proba(X), fitted.predict_members(X)[0], atol=1e-6)


def test_lazy_layers_take_what_they_are_given():
    lazy = NeuralNetClassifier(
        Lazy, criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None, verbose=0, iterator_train__shuffle=True
    )
    pool = collected(Bootstrap(2, max_features=2), lazy)
    assert pool[0].state["on_columns.layer.weight"].shape == (3, 2)


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(3)

    def forward(self, X):
        return self.layer(X)


class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, X):
        return self.layer(X)


def test_nets_of_a_fixed_size_are_refused():
    fixed = NeuralNetClassifier(Fixed, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0)
    with pytest.raises(
        ValueError, match="max_features=2 gives each member 2 of the 6 columns.*Let the module take n_in"
    ):
        collected(Bootstrap(2, max_features=2), fixed)
    made = NeuralNetClassifier(MLP(6, 3), criterion=nn.CrossEntropyLoss, train_split=None, verbose=0)
    with pytest.raises(ValueError, match="made already.*Give the net its class"):
        collected(Bootstrap(2, max_features=2), made)


@pytest.mark.parametrize("wrong", [0, 0.0, 1.5, -1, True, "sqrt", None])
def test_wrong_shares_are_refused(wrong):
    with pytest.raises(ValueError, match=f"max_features is a share of the columns.*got {wrong!r}"):
        collected(Bootstrap(2, max_features=wrong))


def test_data_without_such_columns_is_refused():
    with pytest.raises(ValueError, match="more columns than X has, which are 6"):
        collected(Bootstrap(2, max_features=7))
    images = X.reshape(90, 2, 3)
    with pytest.raises(ValueError, match=r"two axes.*got samples of shape \(2, 3\).*at 1.0"):
        Bootstrap(2, max_features=0.5).collect(net(), images, y, random_state=0)
    by_name = NeuralNetClassifier(Fixed, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0)
    with pytest.raises(ValueError, match="two axes.*got a dict of inputs"):
        Bootstrap(2, max_features=0.5).collect(by_name, {"X": X}, y, random_state=0)


@pytest.mark.filterwarnings("ignore::skfusion.pool.LeakageWarning")
def test_weights_on_unlike_columns_are_not_merged():
    pool = collected(Bootstrap(3, max_features=0.5))
    states, unlike = pool.states, "Tensor 'columns' holds integers, and other ones in member"
    with pytest.raises(ValueError, match=f"{unlike} 'bag-0' than in member 'bag-1'.*combined by their predictions"):
        SoupClassifier(net(), collect=Bootstrap(3, max_features=0.5), random_state=0).fit(X, y)
    for refuse in (
        lambda: Uniform()(states),
        lambda: SoupRegressor(mlp_regressor(max_epochs=1), collect=Bootstrap(2, max_features=1)).fit(X, t[:, 0]),
        lambda: CurveClassifier(net(), collect=pool[:2]).fit(X, y),
        lambda: SoupClassifier(net(), align=WeightMatching()).fuse(pool, X, y),
        lambda: rebasin(*states[:2], Runner(pool[0].net, "classification").module, torch.from_numpy(X[:2])),
        lambda: segment(*states[:2]),
        lambda: pairwise(pool),
    ):
        with pytest.raises(ValueError, match=unlike):
            refuse()
    one = [states[0], {k: v if k == "columns" else v + 1 for k, v in states[0].items()}]
    assert torch.equal(Uniform()(one)["columns"], states[0]["columns"])  # of like columns they are


@pytest.mark.filterwarnings("ignore::skfusion.pool.LeakageWarning")
@pytest.mark.parametrize("source", ["nets", "file"])
def test_members_on_unlike_columns_are_diagnosed_by_their_predictions(source, tmp_path):
    fitted = BaggingFusion(net(), n_members=3, max_features=0.5, random_state=0).fit(X, y)
    pool, given = fitted.pool_, {}
    if source == "file":
        pool.save(tmp_path / "pool")
        pool, given = ModelPool.load(tmp_path / "pool"), {"estimator": net()}
    report = diagnose(pool, X, y, **given)
    assert report.pairs["reason"].tolist() == ["other columns or positions: columns"] * 3
    assert report.pairs["distance"].isna().all()
    labels = fitted.predict_members(X).argmax(axis=2)
    assert report.members["score"].tolist() == pytest.approx([float((own == y).mean()) for own in labels])
    assert report.pool["ensemble"] == pytest.approx(fitted.score(X, y))
    assert report.advice.loc["soup", "why"].startswith("The members see other columns or positions, those in tensor")
    assert (report.advice.loc[["soup", "align then soup", "connect"], "verdict"] == "no").all()
    assert "differ in architecture" not in str(report)
    assert "see other columns" in diagnose(pool).recommendation.one_network


@pytest.mark.filterwarnings("ignore::skfusion.pool.LeakageWarning")
def test_members_on_like_columns_are_averaged_and_others_told_apart():
    pool = collected(Bootstrap(3, max_features=0.5))
    twin = pool[0].replace(name="twin", state={k: v if k == "columns" else v * 1.01 for k, v in pool[0].state.items()})
    report = diagnose(ModelPool([*pool[:2], twin]), X, y)
    assert report.pairs["reason"].eq("").tolist() == [False, True, False]
    assert report.pairs["fall_line"].notna().tolist() == [False, True, False]
    wide = collected(Bootstrap(1, max_features=4))[0].replace(name="wide")
    report = diagnose(ModelPool([pool[0], wide]), X, y)
    assert report.pairs["reason"].str.startswith("other architecture: ").all()


def test_a_fitted_member_is_trained_anew_on_its_own_columns():
    fitted = BaggingFusion(net(), n_members=3, max_features=0.5, random_state=0).fit(X, y)
    own = [m.meta["columns"] for m in fitted.pool_]
    assert len({tuple(columns) for columns in own}) > 1
    assert [e.module.args[1].tolist() for e in fitted.estimators_] == own
    assert [clone(e).fit(X, y).module_.columns.tolist() for e in fitted.estimators_] == own
    np.testing.assert_allclose([e.predict_proba(X) for e in fitted.estimators_], fitted.predict_members(X), atol=1e-6)


def test_a_net_on_columns():
    rows = Rows(X, y)
    whole = nets.sized(net(), rows, 3)
    narrow = on_columns(whole, [5, 2])
    module = Runner(narrow, "classification").module
    assert isinstance(module, OnColumns)
    assert module.on_columns.layers[0].in_features == 2
    torch.testing.assert_close(module.on_columns.x_mean, torch.from_numpy(X.mean(axis=0)[[5, 2]]), rtol=1e-4, atol=1e-4)
    x = torch.from_numpy(X)
    assert torch.equal(module(x), module.on_columns(x[:, [5, 2]]))
    assert whole.module is MLP
    assert with_columns_of(narrow, {}) is narrow
    assert with_columns_of(whole, Runner(whole, "classification").module.state_dict()) is whole
    assert with_columns_of(narrow, module.state_dict()) is narrow
    other = Runner(on_columns(whole, [2, 5]), "classification").module.state_dict()
    assert with_columns_of(narrow, other).module.args[1].tolist() == [2, 5]
    again = Runner(on_columns(narrow, [1, 0, 3]), "classification").module
    assert again.columns.tolist() == [1, 0, 3]
    assert again.on_columns.layers[0].in_features == 3


def test_the_cache_knows_of_columns_and_groups(tmp_path):
    groups = np.arange(90) // 3
    memory = {"memory": str(tmp_path), "random_state": 0}

    def fitted(collect, groups=None, **params):
        return EnsembleClassifier(net(), collect=collect, **params).fit(X, y, groups=groups).predict_proba(X)

    for collect, given in [
        (Bootstrap(2), None),
        (Bootstrap(2), groups),
        (Bootstrap(2), groups // 2),
        (Bootstrap(2, max_features=0.5), None),
        (Seeds(2), groups),
    ]:
        for _ in range(2):
            np.testing.assert_array_equal(fitted(collect, given, **memory), fitted(collect, given, random_state=0))
