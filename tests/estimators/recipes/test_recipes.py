"""Recipes are the sentences that they stand for; oracles at the level of estimators."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from skorch import NeuralNetClassifier, NeuralNetRegressor
from small_nets import small_nets
from torch import nn
from torch.optim.swa_utils import AveragedModel

from skfusion import (
    EnsembleClassifier,
    EnsembleRegressor,
    FastGeometricEnsembleClassifier,
    FastGeometricEnsembleRegressor,
    ModelPool,
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    SoupClassifier,
    SoupRegressor,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.average import EMA, Latest
from skfusion.collect import Averages, Bootstrap, FastGeometric, Seeds, Snapshots, Tail
from skfusion.combine import Average, Stack, Vote
from skfusion.merge import Greedy, Uniform
from skfusion.pool import LeakageWarning
from skfusion.repair import Recalibrate
from skfusion.select import TopK

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32) + np.linspace(0, 1e-3, 150, dtype=np.float32)[:, None]  # no two rows are alike
Z, t = load_diabetes(return_X_y=True)
Z = Z.astype(np.float32)


net, regressor = small_nets(max_epochs=6, module__hidden=(8,), lr=0.02)


def linear_regressor(**params):
    module = nn.Linear(10, 1, bias=True)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    given = {"max_epochs": 4, "lr": 0.01, "batch_size": 32, "train_split": None, "verbose": 0}
    return NeuralNetRegressor(module, iterator_train__shuffle=True, **{**given, **params})


@pytest.mark.parametrize(
    ("recipe", "sentence", "data"),
    [
        (
            WeightAveragingClassifier(net(module__norm="batch"), burn_in=0.5, lr=0.05, lr_end=0.01, every=1),
            SoupClassifier(
                net(module__norm="batch"), collect=Tail(0.5, 1, 0.05, 0.01), merge=Uniform(), repair=Recalibrate()
            ),
            (X, y),
        ),
        (
            WeightAveragingRegressor(regressor(), burn_in=0, last=2),
            SoupRegressor(regressor(), collect=Tail(0, last=2), merge=Uniform()),
            (Z, t),
        ),
        (
            WeightAveragingClassifier(net(module__norm="batch"), average=EMA(0.9)),
            SoupClassifier(net(module__norm="batch"), collect=Averages(1, average=EMA(0.9)), merge=Uniform()),
            (X, y),
        ),
        (
            WeightAveragingRegressor(regressor(), average=Latest(3)),
            SoupRegressor(regressor(), collect=Averages(1, average=Latest(3)), merge=Uniform()),
            (Z, t),
        ),
        (
            SnapshotEnsembleClassifier(net(), n_cycles=3, last=2),
            EnsembleClassifier(net(), collect=Snapshots(3, last=2), combine=Average()),
            (X, y),
        ),
        (
            SnapshotEnsembleRegressor(regressor(), n_cycles=2),
            EnsembleRegressor(regressor(), collect=Snapshots(2)),
            (Z, t),
        ),
        (
            FastGeometricEnsembleClassifier(net(), n_members=2, burn_in=0.5, cycle=4, lr_max=0.05, lr_min=0.01),
            EnsembleClassifier(net(), collect=FastGeometric(2, 0.5, 4, 0.05, 0.01), combine=Average()),
            (X, y),
        ),
        (
            FastGeometricEnsembleRegressor(regressor(), burn_in=0.5),
            EnsembleRegressor(regressor(), collect=FastGeometric(burn_in=0.5)),
            (Z, t),
        ),
    ],
    ids=lambda p: type(p).__name__,
)
def test_recipe_is_its_sentence(recipe, sentence, data):
    recipe, sentence = recipe.set_params(random_state=5).fit(*data), sentence.set_params(random_state=5).fit(*data)
    assert recipe.pool_.names == sentence.pool_.names
    np.testing.assert_array_equal(recipe.predict(data[0]), sentence.predict(data[0]))


@pytest.mark.parametrize(
    "cls", [WeightAveragingClassifier, SnapshotEnsembleClassifier, FastGeometricEnsembleClassifier]
)
def test_recipes_have_flat_parameters(cls):
    assert not {"collect", "merge", "combine", "select"} & set(cls().get_params())


def test_an_average_takes_the_place_of_the_parameters_of_the_mean():
    with pytest.raises(
        ValueError, match=r"{'every': 2, 'last': 3} belong to the mean of the last epochs, and average=EMA"
    ):
        WeightAveragingClassifier(net(), every=2, last=3, average=EMA()).fit(X, y)
    with pytest.raises(TypeError, match="average must be an average of skfusion.average, such as EMA"):
        WeightAveragingClassifier(net(), average="ema").fit(X, y)


def test_a_parameter_of_the_average_can_be_searched():
    short, long = (
        WeightAveragingClassifier(net(), average=EMA(), random_state=0).set_params(average__decay=decay).fit(X, y)
        for decay in (0.0, 0.8)
    )
    last = WeightAveragingClassifier(net(), average=Latest(1), random_state=0).fit(X, y)
    np.testing.assert_allclose(short.predict_proba(X), last.predict_proba(X), rtol=1e-5, atol=1e-7)
    assert not np.allclose(short.predict_proba(X), long.predict_proba(X))


# ---- C1, C5, C6, C15 ---------------------------------------------------------------------------------------------


def test_weight_averaging_is_the_mean_of_the_checkpoints():
    fitted = WeightAveragingClassifier(net(), burn_in=0.5, random_state=0).fit(X, y)
    assert fitted.pool_.names == ["tail-epoch-4", "tail-epoch-5", "tail-epoch-6"]
    module = fitted.estimator_.module_
    averaged = AveragedModel(module)
    for member in fitted.pool_:
        module.load_state_dict(member.state)
        averaged.update_parameters(module)
    for key, value in averaged.module.state_dict().items():
        torch.testing.assert_close(fitted.state_[key], value, rtol=1e-5, atol=1e-6)
    assert set(fitted.member_weights_.values()) == {1 / 3}


def test_mean_of_equal_members_is_the_member():
    pool = SoupClassifier(net(), collect=Seeds(1), random_state=0).fit(X, y).pool_
    copies = pool.replace([pool[0].replace(name=name, rows=None) for name in "abc"])
    soup = SoupClassifier(collect=copies, merge=Uniform()).fit(X, y)
    assert all(torch.allclose(soup.state_[k], v) for k, v in pool[0].state.items())
    greedy = SoupClassifier(collect=copies).fit(X, y)
    assert greedy.member_weights_ == dict.fromkeys("abc", 1 / 3)


def test_one_hot_weights_give_that_member():
    pool = SoupClassifier(net(), collect=Seeds(3), random_state=0).fit(X, y).pool_
    soup = SoupClassifier(collect=pool, merge=Uniform([0, 1, 0])).fit(X, y)
    assert soup.member_weights_ == {"seed-0": 0.0, "seed-1": 1.0, "seed-2": 0.0}
    assert all(torch.equal(soup.state_[k], v) for k, v in pool[1].state.items())


def test_linear_networks_average_alike_in_weights_and_in_predictions():
    given = linear_regressor()
    soup = SoupRegressor(given, collect=Bootstrap(4), merge=Uniform(), random_state=0).fit(Z, t)
    ensemble = EnsembleRegressor(given, collect=Bootstrap(4), random_state=0).fit(Z, t)
    np.testing.assert_allclose(soup.predict(Z), ensemble.predict(Z), rtol=1e-4)


def test_polyak_and_tail_of_length_one():
    whole = WeightAveragingRegressor(regressor(), burn_in=0, random_state=0).fit(Z, t)
    assert len(whole.pool_) == 6
    last = WeightAveragingRegressor(regressor(), last=1, random_state=0).fit(Z, t)
    plain = EnsembleRegressor(regressor(), collect=Seeds(1), random_state=0).fit(Z, t)
    np.testing.assert_allclose(last.predict(Z), plain.predict(Z), rtol=1e-5)


def test_greedy_soup_is_never_worse_than_the_best_member():
    fitted = SoupClassifier(net(), collect=Seeds(4), random_state=0).fit(X, y)
    held = X[fitted.held_out_], y[fitted.held_out_]
    singles = [SoupClassifier().fuse(fitted.pool_[[i]], *held).score(*held) for i in range(4)]
    assert fitted.score(*held) >= max(singles)


# ---- D1, D4, D9 --------------------------------------------------------------------------------------------------


def test_ensemble_is_never_worse_than_its_mean_member():
    fitted = EnsembleClassifier(net(), collect=Seeds(4), random_state=0).fit(X, y)
    P = fitted.predict_members(X).astype(np.float64)
    mean = fitted.predict_proba(X)
    np.testing.assert_allclose(mean, P.mean(axis=0), rtol=1e-6)
    rows = np.arange(150)
    assert -np.log(mean[rows, y]).mean() <= -np.log(P[:, rows, y]).mean()
    values = EnsembleRegressor(regressor(), collect=Seeds(4), random_state=0).fit(Z, t)
    Q, predicted = values.predict_members(Z)[:, :, 0].astype(np.float64), values.predict(Z).astype(np.float64)
    error = ((predicted - t) ** 2).mean()
    ambiguity = ((Q - predicted) ** 2).mean()
    np.testing.assert_allclose(error, ((Q - t) ** 2).mean() - ambiguity, rtol=1e-6)  # of the mean alone
    assert error < ((Q - t) ** 2).mean()


def test_votes_and_weights():
    fitted = EnsembleClassifier(net(), collect=Seeds(3), combine=Vote(), random_state=0).fit(X, y)
    votes = fitted.predict_members(X).argmax(axis=2)
    np.testing.assert_allclose(fitted.predict_proba(X), (votes[:, :, None] == np.arange(3)).mean(axis=0), rtol=1e-6)
    one = EnsembleClassifier(net(), collect=Seeds(3), combine=Average([0, 0, 1]), random_state=0).fit(X, y)
    np.testing.assert_allclose(one.predict_proba(X), one.predict_members(X)[2], atol=1e-6)


def test_stack_sees_out_of_fold_predictions_of_all_rows(monkeypatch):
    seen = []
    fit = Stack.fit

    def spy(self, P, y, task, sample_weight=None):
        seen.append(P.shape)
        return fit(self, P, y, task, sample_weight)

    monkeypatch.setattr(Stack, "fit", spy)
    fitted = EnsembleClassifier(net(), collect=Seeds(2), combine=Stack(), cv=3, random_state=0).fit(X, y)
    assert seen == [(2, 150, 3)]
    assert len(fitted.pool_[0].rows) == 150  # the members are trained on all rows in the end


def test_stack_learns_nothing_from_random_labels():
    labels = np.random.RandomState(0).randint(2, size=150)
    fitted = EnsembleClassifier(
        net(max_epochs=60, module__hidden=(64,), optimizer__weight_decay=0.0),
        collect=Seeds(1), combine=Stack(), cv=3, random_state=0,
    ).fit(X, labels)  # fmt: skip
    assert np.abs(fitted.combine_.final_estimator_.coef_).max() < 1.5


def test_snapshots():
    fitted = SnapshotEnsembleClassifier(net(), n_cycles=3, random_state=0).fit(X, y)
    assert fitted.pool_.names == ["snapshot-epoch-2", "snapshot-epoch-4", "snapshot-epoch-6"]
    last = SnapshotEnsembleClassifier(net(), n_cycles=3, last=1, random_state=0).fit(X, y)
    np.testing.assert_allclose(last.predict_proba(X), fitted.predict_members(X)[2], rtol=0, atol=1e-6)


# ---- fuse, pools, members ----------------------------------------------------------------------------------------

SENTENCES = [
    SoupClassifier(net(module__norm="batch"), collect=Seeds(2), random_state=0),
    SoupClassifier(net(module__norm="batch"), collect=Tail(), merge=Uniform(), random_state=0),
    SoupClassifier(net(), collect=Seeds(3), select=TopK(2), random_state=0),
    EnsembleClassifier(net(), collect=Seeds(3), select=TopK(2), combine=Vote(), random_state=0),
]


@pytest.mark.parametrize("estimator", SENTENCES, ids=lambda e: type(e).__name__)
def test_fuse_with_the_held_out_rows_repeats_the_fit(estimator):
    fitted = estimator.fit(X, y)
    again = type(estimator)(**estimator.get_params(deep=False)).fuse(fitted.pool_, X, y, held_out=fitted.held_out_)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("estimator", SENTENCES, ids=lambda e: type(e).__name__)
def test_fuse_is_fit_with_a_pool(estimator):
    pool = estimator.fit(X[::2], y[::2]).pool_
    params = estimator.get_params(deep=False)
    fused = type(estimator)(**params).fuse(pool, X[1::2], y[1::2])
    fitted = type(estimator)(**{**params, "collect": pool}).fit(X[1::2], y[1::2])
    np.testing.assert_array_equal(fused.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("merge", [Uniform(), Greedy()], ids=repr)
def test_one_member(merge):
    soup = SoupClassifier(net(module__norm="batch"), collect=Seeds(1), merge=merge, random_state=0).fit(X, y)
    assert all(torch.equal(soup.state_[k], v) for k, v in soup.pool_[0].state.items())
    ensemble = EnsembleClassifier(net(module__norm="batch"), collect=soup.pool_).fit(X, y)
    np.testing.assert_allclose(ensemble.predict_proba(X), soup.predict_proba(X), atol=1e-6)


def test_a_pool_serves_soups_and_ensembles(tmp_path):
    fitted = SoupClassifier(net(), collect=Seeds(3), random_state=0).fit(X[::2], np.array(["a", "b", "c"])[y[::2]])
    fitted.pool_.save(tmp_path / "pool")
    pool = ModelPool.load(tmp_path / "pool")
    labels = np.array(["a", "b", "c"])[y[1::2]]
    for kind in (SoupClassifier, EnsembleClassifier):
        loaded = kind(net(), collect=pool).fit(X[1::2], labels)
        in_memory = kind(collect=fitted.pool_).fit(X[1::2], labels)
        assert loaded.classes_.tolist() == ["a", "b", "c"]
        np.testing.assert_allclose(loaded.predict_proba(X), in_memory.predict_proba(X), rtol=0, atol=1e-6)


def test_leakage_is_counted():
    order = np.random.RandomState(0).permutation(150)
    A, b = X[order], y[order]
    pool = SoupClassifier(net(), collect=Seeds(2), merge=Uniform(), random_state=0).fit(A[:100], b[:100]).pool_
    with pytest.warns(LeakageWarning, match="30 of the 80 rows used to choose or weigh members.*Give rows that no"):
        SoupClassifier(collect=pool).fit(A[70:], b[70:])
    with pytest.warns(LeakageWarning, match="80 of the 80 rows") as caught:
        EnsembleClassifier(collect=pool, select=TopK(1)).fit(A[:80], b[:80])
    assert caught[0].filename == __file__  # the user's line, not one of a library
    SoupClassifier(collect=pool).fit(A[100:], b[100:])
    SoupClassifier(collect=pool, merge=Uniform()).fit(A, b)  # judges nothing
    EnsembleClassifier(collect=pool).fit(A, b)


def test_bags_know_their_rows():
    pool = EnsembleClassifier(net(), collect=Bootstrap(1, max_samples=0.2), random_state=0).fit(X, y).pool_
    with pytest.warns(LeakageWarning, match=f"{len(pool[0].rows)} of the 150 rows"):
        SoupClassifier(collect=pool).fit(X, y)


def test_estimators_are_fitted_skorch_nets():
    soup = SoupClassifier(net(module__norm="batch"), collect=Seeds(2), random_state=0).fit(X, y)
    np.testing.assert_allclose(soup.estimator_.predict_proba(X), soup.predict_proba(X), rtol=1e-5)
    np.testing.assert_array_equal(soup.estimator_.predict(X), soup.predict(X))
    ensemble = EnsembleClassifier(net(), collect=Seeds(3), random_state=0).fit(X, y)
    for member, P in zip(ensemble.estimators_, ensemble.predict_members(X), strict=True):
        np.testing.assert_allclose(member.predict_proba(X), P, rtol=1e-5)
    values = WeightAveragingRegressor(regressor(), random_state=0).fit(Z, t)
    np.testing.assert_allclose(values.estimator_.predict(Z)[:, 0], values.predict(Z), rtol=1e-5)
    with torch.no_grad():
        soup.estimator_.module_.layers[0].weight.zero_()  # copies: the estimator is not changed
    np.testing.assert_allclose(soup.estimator_.predict_proba(X), soup.predict_proba(X), rtol=1e-5)


def test_pool_of_nets_trained_elsewhere():
    nets = []
    for seed in range(2):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        plain = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=5, train_split=None, verbose=0)
        nets.append(plain.fit(X[::2], y[::2]))
    pool = ModelPool.from_estimators(nets, X[::2], y[::2])
    ensemble = EnsembleClassifier(collect=pool).fit(X[1::2], y[1::2])
    np.testing.assert_allclose(ensemble.predict_members(X)[1], nets[1].predict_proba(X), rtol=1e-5)
    with pytest.warns(LeakageWarning, match="75 of the 150 rows"):
        SoupClassifier(collect=pool).fit(X, y)


def test_members_that_do_not_join_have_no_weight():
    fitted = SoupClassifier(net(), collect=Seeds(4), merge=Greedy(strict=True), random_state=0).fit(X, y)
    assert list(fitted.member_weights_) == fitted.pool_.names
    assert sum(fitted.member_weights_.values()) == pytest.approx(1)
    best = SoupClassifier(net(), collect=Seeds(4), select=TopK(1), random_state=0).fit(X, y)
    assert len(best.member_weights_) == 1
    assert len(best.pool_) == 4
