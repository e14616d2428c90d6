"""Every trial of a search, a study or a run becomes a member that knows its settings, score, rows and start."""

import copy
import json
import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import EnsembleClassifier, KeepTrials, ModelPool, SoupClassifier
from skfusion.collect import FineTunes, Seeds
from skfusion.combine import EnsembleSelection
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier
from skfusion.pool import DirectoryStore, LeakageWarning, Member, MemoryStore, PoolFormatError

optuna.logging.set_verbosity(optuna.logging.ERROR)
X, Y = make_classification(90, 5, n_informative=3, random_state=0)
X = X.astype(np.float32)
ONE_SPLIT = ShuffleSplit(1, test_size=1 / 3, random_state=0)


def module(width=4, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 2))


def net(given=None, **params):
    defaults = {"criterion": nn.CrossEntropyLoss, "max_epochs": 2, "verbose": 0, "train_split": None, "lr": 0.1}
    return NeuralNetClassifier(module() if given is None else given, **{**defaults, **params})


def grid(estimator=None, params=None, cv=ONE_SPLIT, **options):
    return GridSearchCV(estimator or net(), params or {"lr": [0.01, 0.1, 0.5]}, cv=cv, **options)


def predictions(member, rows):
    """What a member predicts, by its state alone."""
    fresh = module(member.state["0.bias"].numel())
    fresh.load_state_dict(member.state)
    with torch.no_grad():
        return fresh(torch.from_numpy(rows)).argmax(1).numpy()


# ------------------------------------------------------------------------------------------------------ scikit-learn


RANDOM = RandomizedSearchCV(net(), {"lr": [0.01, 0.1, 0.5, 0.7]}, n_iter=3, cv=KFold(3), random_state=0, n_jobs=2)


@pytest.mark.parametrize("search", [grid(cv=3), RANDOM], ids=["grid", "random, by two processes"])
def test_every_fit_of_a_search_is_a_member(search, tmp_path):
    search = KeepTrials(tmp_path).wrap(search).fit(X, Y)
    pool = ModelPool.from_search(search)
    assert pool.names == [f"trial-{i}-fold-{k}" for i in range(3) for k in range(3)]
    assert pool.classes.tolist() == [0, 1]
    splits = [*search.cv.split(X, Y)] if not isinstance(search.cv, int) else None
    for member in pool:
        trial, fold = member.meta["trial"], member.meta["fold"]
        assert member.meta["params"] == search.cv_results_["params"][trial]
        assert member.score == search.cv_results_[f"split{fold}_test_score"][trial]
        assert member.meta["mean_score"] == search.cv_results_["mean_test_score"][trial]
        assert member.net.lr == member.meta["params"]["lr"]
        held_out = ModelPool([member], classes=[0, 1]).unseen(X, Y)
        assert member.meta["judged_on"]["n_rows"] == len(held_out) == 30
        assert accuracy_score(Y[held_out], predictions(member, X[held_out])) == member.score
        if splits is not None:
            assert held_out.tolist() == splits[fold][1].tolist()


def test_a_wrapped_search_finds_what_the_search_itself_finds(tmp_path):
    plain, kept = grid(cv=3).fit(X, Y), KeepTrials(tmp_path).wrap(grid(cv=3)).fit(X, Y)
    for key in ("mean_test_score", "split1_test_score", "rank_test_score"):
        assert plain.cv_results_[key].tolist() == kept.cv_results_[key].tolist()
    assert plain.predict(X).tolist() == kept.predict(X).tolist()
    assert plain.predict_proba(X).tolist() == kept.predict_proba(X).tolist()
    assert plain.score(X, Y) == kept.score(X, Y)
    assert kept.best_params_ == plain.best_params_
    assert kept.classes_.tolist() == [0, 1]
    assert kept.n_features_in_ == plain.n_features_in_ if hasattr(plain, "n_features_in_") else True
    assert not plain.estimator.initialized_
    loaded = pickle.loads(pickle.dumps(kept))
    assert loaded.predict(X).tolist() == plain.predict(X).tolist()
    assert ModelPool.from_search(loaded).names == ModelPool.from_search(kept).names


def test_a_wrapped_search_is_cross_validated_as_any_other(tmp_path):
    kept = KeepTrials(tmp_path).wrap(grid())
    assert cross_val_score(kept, X, Y, cv=2).tolist() == cross_val_score(grid(), X, Y, cv=2).tolist()


def test_the_score_of_a_refitted_search_is_no_trial(tmp_path):
    search = KeepTrials(tmp_path).wrap(grid()).fit(X, Y)
    before = ModelPool.from_search(search)
    search.score(X, Y)
    search.score(X[:20], Y[:20])
    after = ModelPool.from_search(search)
    assert [m.score for m in after] == [m.score for m in before]
    assert all(m.meta["judged_on"]["n_rows"] == 30 for m in after)


def test_a_search_that_is_fitted_again_has_the_members_of_the_last_fit(tmp_path):
    search = KeepTrials(tmp_path).wrap(grid(cv=2))
    search.fit(X[:60], Y[:60]).fit(X[30:], Y[30:])
    for member in ModelPool.from_search(search):
        held_out = ModelPool([member], classes=[0, 1]).unseen(X[30:], Y[30:])
        assert len(held_out) == member.meta["judged_on"]["n_rows"] == 30
        assert accuracy_score(Y[30:][held_out], predictions(member, X[30:][held_out])) == member.score


@pytest.mark.parametrize("resource", ["n_samples", "max_epochs"])
def test_trials_of_successive_halving_keep_their_iteration(resource, tmp_path):
    options = {"max_resources": 8, "min_resources": 2} if resource == "max_epochs" else {"min_resources": 20}
    search = HalvingGridSearchCV(
        net(), {"lr": [0.01, 0.1, 0.5, 0.9]}, cv=3, factor=2, resource=resource, random_state=0, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = KeepTrials(tmp_path).wrap(search).fit(X, Y)
    pool, results = ModelPool.from_search(search), search.cv_results_
    assert len(pool) == 3 * len(results["params"]) > 12
    for member in pool:
        trial, fold = member.meta["trial"], member.meta["fold"]
        assert member.score == results[f"split{fold}_test_score"][trial]
        assert member.meta["params"] == results["params"][trial]
        n_rows = len(member.rows) + member.meta["judged_on"]["n_rows"]
        assert n_rows == pytest.approx(results["n_resources"][trial] if resource == "n_samples" else 90, abs=3)


def test_several_scores_are_kept_and_the_one_that_chooses_is_the_score(tmp_path):
    search = grid(scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss", return_train_score=True)
    search = KeepTrials(tmp_path).wrap(search).fit(X, Y)
    pool = ModelPool.from_search(search)
    assert [m.score for m in pool] == search.cv_results_["split0_test_neg_log_loss"].tolist()
    assert [m.meta["mean_score"] for m in pool] == search.cv_results_["mean_test_neg_log_loss"].tolist()
    assert [m.meta["scores"]["accuracy"] for m in pool] == search.cv_results_["split0_test_accuracy"].tolist()
    assert len(DirectoryStore(tmp_path).names()) == 3  # and none that was scored on its training rows
    assert search.score(X, Y) == pytest.approx(clone(grid(scoring="neg_log_loss")).fit(X, Y).score(X, Y))


class Seed:
    """A setting by which two trials differ, and whose text is the same."""

    def __init__(self, seed):
        self.seed = seed

    def __repr__(self):
        return "Seed()"


def test_trials_of_equal_settings_are_members_of_their_own(tmp_path):
    seeds = [Seed(1), Seed(2), Seed(1)]
    estimator = net(lambda seed: module(seed=seed.seed))
    search = KeepTrials(tmp_path).wrap(grid(estimator, {"module__seed": seeds})).fit(X, Y)
    pool = ModelPool.from_search(search)
    assert [m.score for m in pool] == search.cv_results_["split0_test_score"].tolist()
    starts = sorted(pool.names, key=lambda name: pool[name].meta["start"])
    assert len({pool[name].meta["start"] for name in starts}) == 2
    (group,) = pool.grouped()
    assert {m.name for m in group} in ({"trial-0", "trial-2"}, {"trial-0", "trial-1"}, {"trial-1", "trial-2"})
    assert torch.equal(group[0].state["0.weight"], group[1].state["0.weight"])  # of one start and one setting


def test_a_search_over_a_fusion_of_weights_keeps_its_network(tmp_path):
    start = mlp_classifier(max_epochs=1, module__hidden=(4,))
    given = EnsembleClassifier(start, collect=Seeds(1), random_state=0).fit(X, Y).pool_[0].state
    tunes = SoupClassifier(start, collect=FineTunes(n_members=1, init=given), merge=Uniform(), random_state=0)
    search = KeepTrials(tmp_path).wrap(grid(tunes, {"estimator__lr": [0.01, 0.1]})).fit(X, Y)
    pool = ModelPool.from_search(search)
    assert all(m.is_network for m in pool)
    assert len(pool.grouped()[0]) == 2
    new = pool.unseen(X, Y)
    scores = [EnsembleClassifier(collect=pool[[k]]).fit(X[new], Y[new]).score(X[new], Y[new]) for k in range(2)]
    assert scores == [m.score for m in pool]


def test_other_estimators_are_members_as_they_were_fitted():
    searches = {"C": (make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.01, 1.0]})}
    estimator, params = searches["C"]
    search = KeepTrials(MemoryStore()).wrap(grid(estimator, params, cv=2)).fit(X, np.array(["no", "yes"])[Y])
    pool = ModelPool.from_search(search)
    assert pool.classes.tolist() == ["no", "yes"]
    assert not any(m.is_network for m in pool)
    held_out = ModelPool.from_search(search, fold=1).unseen(X, np.array(["no", "yes"])[Y])
    judged = [m.estimator.score(X[held_out], np.array(["no", "yes"])[Y][held_out]) for m in pool if m.meta["fold"]]
    assert judged == [m.score for m in pool if m.meta["fold"] == 1]


def test_several_labels_a_row():
    both = np.c_[Y, Y[::-1]]
    search = KeepTrials(MemoryStore()).wrap(grid(DecisionTreeClassifier(), {"max_depth": [1, 2]})).fit(X, both)
    pool = ModelPool.from_search(search)
    assert len(pool) == 2
    assert pool.classes is None
    assert len(pool.unseen(X, both)) == 30


def test_rows_of_a_table_with_text_are_known_by_their_values():
    rng = np.random.RandomState(0)
    table = pd.DataFrame({"number": rng.randn(90), "kind": rng.choice([*"xyz"], 90)})
    y = np.where((table["number"] + (table["kind"] == "x") > 0), "good", "bad")
    columns = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression())
    search = grid(model, {"logisticregression__C": [0.1, 1.0]}, cv=KFold(3))
    search = KeepTrials(MemoryStore()).wrap(search).fit(table, y)
    assert len(ModelPool.from_search(search)) == 6
    for fold, (_, test) in enumerate(KFold(3).split(table)):
        pool = ModelPool.from_search(search, fold=fold)
        assert pool.unseen(table, y).tolist() == test.tolist()
        assert pool[0].estimator.score(table.iloc[test], y[test]) == pool[0].score


def test_folds_of_sparse_rows_are_told_apart():
    search = grid(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3)
    search = KeepTrials(MemoryStore()).wrap(search).fit(csr_array(X.astype(float)), Y)
    pool = ModelPool.from_search(search)
    assert len(pool) == 6
    assert len({m.meta["judged_on"]["digest"] for m in pool}) == 3
    with pytest.raises(ValueError, match="do not know which rows they were trained on"):
        pool.unseen(X, Y)


def test_a_regression(tmp_path):
    given = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    y = X[:, :1] * 2
    search = grid(NeuralNetRegressor(given, max_epochs=2, verbose=0, train_split=None), {"lr": [0.01, 0.1]})
    pool = ModelPool.from_search(KeepTrials(tmp_path).wrap(search).fit(X, y))
    assert pool.classes is None
    assert len(pool.unseen(X, y)) == 30
    alone = ModelPool.from_search(KeepTrials(MemoryStore()).wrap(grid(Ridge(), {"alpha": [1, 2]})).fit(X, y[:, 0]))
    assert [m.meta["params"]["alpha"] for m in alone] == [1, 2]


def test_failed_fits_are_left_out_with_a_note(tmp_path):
    search = KeepTrials(tmp_path).wrap(grid(params={"lr": [0.1, "fast"]}))
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search.fit(X, Y)
    with pytest.warns(UserWarning, match=r"1 of the 2 fits of the GridSearchCV are left out. trial-1: their fit or"):
        pool = ModelPool.from_search(search)
    assert pool.names == ["trial-0"]
    assert np.isnan(search.cv_results_["mean_test_score"][1])


def test_a_fold_without_a_class_is_left_out_by_name(tmp_path):
    order = np.argsort(Y, kind="stable")
    X_sorted, y_sorted = X[order][20:], np.r_[Y[order][20:-10], [2] * 10]
    three = nn.Sequential(nn.Linear(5, 3))
    search = KeepTrials(tmp_path).wrap(grid(net(three), {"lr": [0.1]}, cv=KFold(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X_sorted, y_sorted)
    with pytest.warns(
        UserWarning, match=r"trial-0-fold-2: its classes are \[0, 1\], and those of the others \[0, 1, 2\]"
    ):
        pool = ModelPool.from_search(search)
    assert pool.names == ["trial-0-fold-0", "trial-0-fold-1"]
    assert pool.classes.tolist() == [0, 1, 2]


def test_settings_that_are_no_json_are_kept_by_their_repr(tmp_path):
    class Odd:
        pass

    search = grid(params={"optimizer": [torch.optim.SGD, torch.optim.Adam], "module__odd": [Odd()]}, cv=ONE_SPLIT)
    search.estimator.set_params(module=WithOdd)
    pool = ModelPool.from_search(KeepTrials(tmp_path).wrap(search).fit(X, Y))
    assert [m.meta["params"]["optimizer"] for m in pool] == ["SGD", "Adam"]
    assert "Odd object" in pool[0].meta["params"]["module__odd"]
    assert " at 0x" not in pool[0].meta["params"]["module__odd"]


class WithOdd(nn.Module):
    def __init__(self, odd):
        super().__init__()
        self.layer = nn.Linear(5, 2)

    def forward(self, inputs):
        return self.layer(inputs)


# --------------------------------------------------------------------------------------------------------- honesty


def test_the_training_rows_of_a_member_are_warned_of(tmp_path):
    search = KeepTrials(tmp_path).wrap(grid()).fit(X, Y)
    pool = ModelPool.from_search(search)
    new = pool.unseen(X, Y)
    ensemble = EnsembleClassifier(collect=pool, combine=EnsembleSelection())
    ensemble.fit(X[new], Y[new])  # without a word
    with pytest.warns(LeakageWarning, match="60 of the 90 rows"):
        ensemble.fit(X, Y)
    with pytest.raises(ValueError, match=r"Each of the 90 rows was used to train.*fold=0"):
        ModelPool.from_search(KeepTrials(tmp_path).wrap(grid(cv=3)).fit(X, Y)).unseen(X, Y)


def test_copies_of_training_rows_are_not_new(tmp_path):
    pool = ModelPool.from_search(KeepTrials(tmp_path).wrap(grid()).fit(X, Y))
    new = pool.unseen(X, Y)
    old = np.setdiff1d(np.arange(90), new)
    twice, labels = np.r_[X, X[old]], np.r_[Y, 1 - Y[old]]  # with other targets
    assert pool.unseen(twice, labels).tolist() == new.tolist()


@pytest.mark.parametrize("n_folds", [1, 3])
def test_random_labels_come_out_at_chance(n_folds):
    rng = np.random.RandomState(0)
    scores, ensembles, learned = [], [], []
    for seed in range(3):
        rows, labels = rng.randn(240, 5).astype(np.float32), rng.randint(2, size=240)
        cv = ShuffleSplit(n_folds, test_size=1 / 3, random_state=seed) if n_folds == 1 else KFold(n_folds)
        quick = net(module(32), batch_size=20, max_epochs=30, optimizer=torch.optim.Adam)
        search = grid(quick, {"lr": [0.02, 0.05]}, cv=cv)
        search = KeepTrials(MemoryStore()).wrap(search).fit(rows, labels)
        pool = ModelPool.from_search(search, fold=0)
        scores += [m.score for m in ModelPool.from_search(search)]
        new = pool.unseen(rows, labels)
        other, truth = rng.randn(400, 5).astype(np.float32), rng.randint(2, size=400)
        for fusion in (
            EnsembleClassifier(collect=pool, combine=EnsembleSelection()),
            SoupClassifier(collect=pool.grouped()[0], merge=Greedy()),
        ):
            ensembles.append(fusion.fit(rows[new], labels[new]).score(other, truth))
        trained = np.setdiff1d(np.arange(240), new)
        learned.append(accuracy_score(labels[trained], search.best_estimator_.predict(rows[trained])))
    assert np.mean(learned) > 0.7  # by heart
    assert abs(np.mean(scores) - 0.5) < 0.1
    assert abs(np.mean(ensembles) - 0.5) < 0.05


# ---------------------------------------------------------------------------------------------------------- Optuna


def study_of(keep, n_trials=4, hand_over=True, name="s", **options):
    def objective(trial):
        lr = trial.suggest_float("lr", 0.01, 0.5, log=True)
        trained = net(lr=lr).fit(X[:60], Y[:60])
        if hand_over:
            keep.member(trial, trained, rows=(X[:60], Y[:60]), held_out=(X[60:], Y[60:]), start=module())
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ArithmeticError
        return trained.score(X[60:], Y[60:])

    study = optuna.create_study(study_name=name, direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials, catch=ArithmeticError, callbacks=[keep], **options)
    return study


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_complete_trials_of_a_study_are_members(n_jobs, tmp_path):
    keep = KeepTrials(tmp_path)
    study = study_of(keep, n_jobs=n_jobs)
    with pytest.warns(UserWarning, match=r"2 of the 4 trials .* trial-1: they were pruned; trial-2: they have failed"):
        pool = ModelPool.from_study(study, tmp_path, net=net())
    assert pool.names == ["trial-0", "trial-3"]
    assert len(DirectoryStore(tmp_path).names()) == 2  # what was pruned or has failed is not kept
    for member in pool:
        trial = study.trials[member.meta["trial"]]
        assert member.score == trial.value
        assert member.meta["params"] == trial.params
        assert accuracy_score(Y[60:], predictions(member, X[60:])) == member.score
    assert len(pool.grouped()[0]) == 2
    assert pool.unseen(X, Y).tolist() == [*range(60, 90)]
    soup = SoupClassifier(collect=pool, merge=Greedy()).fit(X[60:], Y[60:])
    assert soup.score(X[60:], Y[60:]) >= max(m.score for m in pool)


def test_studies_share_a_folder_and_overwrite_nothing(tmp_path):
    keep = KeepTrials(tmp_path)
    first, second = (study_of(keep, 1) for _ in range(2))  # of one name, and the same number
    third = study_of(keep, 1, name="t")
    assert len(keep.store.names()) == 3
    pools = [ModelPool.from_study(study, keep) for study in (first, second, third)]
    assert all(len(pool) == 1 for pool in pools)
    with pytest.raises(ValueError, match=r"no member of the study 'u'. It has 3 members that are not of this study"):
        ModelPool.from_study(study_of(KeepTrials(MemoryStore()), 1, name="u"), keep)


def test_a_loss_is_turned_round_and_several_values_are_no_score():
    keep = KeepTrials(MemoryStore())
    study = optuna.create_study()
    trial = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
    keep.member(trial, net().fit(X, Y))
    keep(study, study.tell(trial, 0.25))
    assert ModelPool.from_study(study, keep)[0].score == -0.25
    both = optuna.create_study(directions=["minimize", "maximize"])
    trial = both.ask()
    keep.member(trial, LogisticRegression().fit(X, Y))
    keep(both, both.tell(trial, [1.0, 2.0]))
    (member,) = ModelPool.from_study(both, keep)
    assert np.isnan(member.score)
    assert member.meta["values"] == [1.0, 2.0]


def test_networks_with_their_labels_in_another_order_are_left_out_by_name():
    keep = KeepTrials(MemoryStore())
    study = optuna.create_study(study_name="orders")
    for order in ([0, 1], [1, 0], [0, 1]):
        trial = study.ask()
        keep.member(trial, net(classes=order).fit(X, Y))
        keep(study, study.tell(trial, 1.0))
    with pytest.warns(UserWarning, match=r"trial-1: its classes are \[1, 0\], and those of the others \[0, 1\]"):
        pool = ModelPool.from_study(study, keep)
    assert pool.names == ["trial-0", "trial-2"]
    assert pool.classes.tolist() == [0, 1]


def test_other_estimators_may_know_some_of_the_labels():
    keep = KeepTrials(MemoryStore())
    study = optuna.create_study(study_name="labels")
    labels = np.array(["a", "b", "c"])[np.arange(90) % 3]
    for known in ("ab", "bc"):
        rows = np.isin(labels, [*known])
        trial = study.ask()
        keep.member(trial, LogisticRegression().fit(X[rows], labels[rows]))
        keep(study, study.tell(trial, 1.0))
    pool = ModelPool.from_study(study, keep)
    assert pool.classes.tolist() == ["a", "b", "c"]
    assert [m.meta["classes"] for m in pool] == [["a", "b"], ["b", "c"]]


@pytest.mark.parametrize("model", [LogisticRegression(), net()], ids=["estimator", "net"])
def test_a_model_that_is_fitted_again_stays_as_it_was_handed_over(model):
    keep = KeepTrials(MemoryStore())
    study, expected = optuna.create_study(), []
    for rows in (slice(0, 40), slice(30, 90)):
        trial = study.ask()
        keep.member(trial, model.fit(X[rows], Y[rows]))
        expected.append(model.predict(X).tolist())
        keep(study, study.tell(trial, 1.0))
    pool = ModelPool.from_study(study, keep)
    found = [predictions(m, X) if m.is_network else m.estimator.predict(X) for m in pool]
    assert [p.tolist() for p in found] == expected
    assert expected[0] != expected[1]


def test_trials_that_hand_nothing_over_are_named():
    keep = KeepTrials(MemoryStore())
    with pytest.warns(UserWarning, match="has handed over no network, so none is kept"):
        study = study_of(keep, 1, hand_over=False)
    with pytest.raises(ValueError, match=r"has no member of the study 's'\. Call keep.member\(trial, net\) in"):
        ModelPool.from_study(study, keep)
    with pytest.raises(ValueError, match="no trial that is complete"):
        ModelPool.from_study(optuna.create_study(), keep)
    with pytest.raises(TypeError, match="takes a study of Optuna; got a list"):
        ModelPool.from_study([], keep)
    with pytest.raises(TypeError, match="member takes a fitted estimator"):
        keep.member(None, module())


def test_a_trial_that_is_of_no_study_is_not_kept():
    keep = KeepTrials(MemoryStore())
    keep.member(optuna.trial.FixedTrial({}), net().fit(X, Y))
    assert keep.store.names() == []


PROCESS = """
import sys, numpy as np, optuna
from sklearn.linear_model import LogisticRegression
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from skfusion import KeepTrials
optuna.logging.set_verbosity(optuna.logging.ERROR)
from skorch import NeuralNetClassifier
from torch import nn
folder = sys.argv[1]
keep = KeepTrials(folder + "/pool")
X = np.random.RandomState(0).randn(20, 5).astype("float32")
def objective(trial):
    lr = trial.suggest_float("lr", 0.01, 0.5)
    net = NeuralNetClassifier(nn.Linear(5, 2), criterion=nn.CrossEntropyLoss, lr=lr, max_epochs=1, verbose=0)
    keep.member(trial, net.fit(X, np.arange(20) % 2))
    return lr
storage = JournalStorage(JournalFileBackend(folder + "/journal.log"))
study = optuna.create_study(storage=storage, study_name="shared", load_if_exists=True)
study.optimize(objective, n_trials=4, callbacks=[keep])
"""


def test_processes_share_a_study_and_a_folder(tmp_path):
    running = [subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(120) for process in running] == [0, 0]
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    study = optuna.load_study(study_name="shared", storage=optuna.storages.JournalStorage(backend))
    pool = ModelPool.from_study(study, tmp_path / "pool")
    assert pool.names == [f"trial-{k}" for k in range(8)]
    assert [-m.score for m in pool] == [trial.params["lr"] for trial in study.trials]


# ---------------------------------------------------------------------------------------------------------- skorch


class Spoil(Callback):
    """Makes the validation loss large from the sixth epoch on."""

    def on_epoch_begin(self, net, **_):
        if len(net.history) == 6:
            with torch.no_grad():
                net.module_[2].weight.mul_(-30)


@pytest.mark.parametrize("epoch", ["best", "last"])
def test_an_epoch_of_a_run_of_skorch_is_a_member(epoch, tmp_path):
    keep = KeepTrials(tmp_path, epoch=epoch)
    split = ValidSplit(3, stratified=True)
    trained = net(callbacks=[Spoil(), keep], train_split=split, max_epochs=12, lr=0.001).fit(X, Y)
    (member,) = ModelPool.load(tmp_path)
    losses = trained.history[:, "valid_loss"]
    at = int(np.argmin(losses)) if epoch == "best" else 11
    assert int(np.argmin(losses)) < 11
    assert member.meta["epochs"] == at + 1
    assert member.score == pytest.approx(trained.history[at, "valid_acc"])
    assert len(member.rows) == 60
    assert member.meta["params"]["lr"] == 0.001
    new = ModelPool([member], classes=[0, 1]).unseen(X, Y)
    assert accuracy_score(Y[new], predictions(member, X[new])) == pytest.approx(member.score)
    clone(net(callbacks=[keep])).fit(X, Y)  # a clone keeps in the same place
    pool = ModelPool.load(tmp_path)
    assert len(pool) == len(pool.grouped()[0]) == 2


def test_a_run_without_validation_keeps_its_last_epoch():
    keep = KeepTrials(MemoryStore())
    trained = net(callbacks=[keep]).fit(X, Y)
    (member,) = [keep.store.get(name) for name in keep.store.names()]
    assert np.isnan(member.score)
    assert torch.equal(member.state["0.weight"], trained.module_[0].weight)
    assert len(member.rows) == 90


def test_nets_that_are_trained_at_once_do_not_mix():
    keep = KeepTrials(MemoryStore())
    nets = [net(callbacks=[keep], lr=lr, max_epochs=20) for lr in (0.01, 0.1, 0.2, 0.3)]
    fitted = joblib.Parallel(2, backend="threading")(joblib.delayed(n.fit)(X, Y) for n in nets)
    kept = {keep.store.get(name).meta["params"]["lr"]: keep.store.get(name) for name in keep.store.names()}
    assert all(torch.equal(kept[n.lr].state["2.weight"], n.module_[2].weight) for n in fitted)


# ------------------------------------------------------------------------------------------------------- bad input


def test_searches_that_were_not_wrapped_or_not_fitted(tmp_path):
    with pytest.raises(
        ValueError, match=r"GridSearchCV has thrown its fits away.* KeepTrials\(folder\).wrap\(search\)"
    ):
        ModelPool.from_search(grid().fit(X, Y))
    with pytest.raises(ValueError, match=r"The GridSearchCV is not fitted. Call its fit first. Wrap it first"):
        ModelPool.from_search(grid())
    wrapped = KeepTrials(tmp_path).wrap(grid())
    with pytest.raises(ValueError, match=r"The GridSearchCV is not fitted. Call its fit first.$"):
        ModelPool.from_search(wrapped)
    with pytest.raises(TypeError, match="takes a search of scikit-learn"):
        ModelPool.from_search(LogisticRegression())
    with pytest.raises(ValueError, match="wrapped already"):
        KeepTrials(tmp_path).wrap(wrapped)
    with pytest.raises(
        TypeError, match="wrap takes a search of scikit-learn, such as RandomizedSearchCV; got Logistic"
    ):
        KeepTrials(tmp_path).wrap(LogisticRegression())
    with pytest.raises(TypeError, match="needs scoring="):
        KeepTrials(tmp_path).wrap(grid(StandardScaler(), {"with_mean": [True]}))
    wrapped.fit(X, Y)
    with pytest.raises(ValueError, match="fold must be from 0 to 0"):
        ModelPool.from_search(wrapped, fold=1)
    with pytest.raises(ValueError, match="has no member of this GridSearchCV"):
        ModelPool.from_search(wrapped, MemoryStore())
    assert len(ModelPool.from_search(wrapped, tmp_path)) == 3


def test_stores_that_are_none(tmp_path):
    with pytest.raises(TypeError, match="store must be the path of a folder, a Store"):
        KeepTrials(3)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PoolFormatError):
        KeepTrials(tmp_path)
    with pytest.raises(ValueError, match="epoch must be 'best' or 'last'; got 'first'"):
        KeepTrials(MemoryStore(), epoch="first")


def test_a_memory_store_stays_in_its_process():
    search = KeepTrials(MemoryStore()).wrap(grid(n_jobs=2))
    with pytest.raises(Exception, match="ickle") as caught:
        search.fit(X, Y)
    assert "its members would stay behind" in str(caught.value.__cause__) + str(caught.value)
    keep = KeepTrials(MemoryStore())
    assert copy.deepcopy(keep) is keep
    assert clone(keep) is keep


def test_a_store_that_fails_does_not_end_the_search():
    class Full(MemoryStore):
        def put(self, member):
            raise OSError(28, "No space left on device")

    search = KeepTrials(Full()).wrap(grid())
    with pytest.warns(UserWarning, match="A trial could not be kept in .*No space left on device"):
        search.fit(X, Y)
    assert search.best_score_ > 0
    with pytest.raises(ValueError, match="has no member of this GridSearchCV"):
        ModelPool.from_search(search)


def test_what_is_kept_is_plain_json(tmp_path):
    KeepTrials(tmp_path).wrap(grid(DummyNet(), {"lr": [np.float32(0.5), np.int64(3)]})).fit(X, Y)
    entries = json.loads((tmp_path / "pool.json").read_text())["members"]
    assert sorted(entry["meta"]["params"]["lr"] for entry in entries) == [0.5, 3]


class DummyNet(DummyClassifier):
    """Not a net in the sense of skorch, but it has a module when it is fitted."""

    def __init__(self, lr=0.1):
        super().__init__()
        self.lr = lr

    def fit(self, X, y):
        self.module_ = nn.Linear(1, 1)
        return super().fit(X, y)


def test_members_without_marks_are_not_said_to_be_new():
    pool = ModelPool([Member("a", {"w": torch.zeros(1)})])
    with pytest.raises(ValueError, match=r"The members \['a'\] do not know which rows they were trained on"):
        pool.unseen(X, Y)
