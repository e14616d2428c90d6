"""Comparisons in which something fails, is not defined, or must not be shared."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning, UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier, SoupRegressor, nets
from skfusion.collect import Seeds
from skfusion.compare import _table, compare_fusions
from skfusion.compare._splits import splits_of
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import ModelPool
from skfusion.tuning import FusionSearch

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike
NET = mlp_classifier(max_epochs=2, module__hidden=(4,))


def soup(**params):
    return SoupClassifier(NET, **{"collect": Seeds(2), "merge": Uniform(), **params})


# ---- scores that are not there ---------------------------------------------------------------------------------------


def sometimes(values):
    """Return a scorer that gives these, one a call."""
    left = iter(values)
    return lambda estimator, X, y: next(left)


def test_a_mean_over_a_fold_without_a_score_is_nan():
    scoring = {"s": sometimes([1.0, np.nan, 1.0]), "accuracy": "accuracy"}
    with pytest.warns(FitFailedWarning, match=r"Fusion 'a' has no s in folds \[1\], so that the mean is NaN"):
        row = compare_fusions({"a": DummyClassifier()}, X, y, cv=3, scoring=scoring, random_state=0).loc["a"]
    assert row[["s_mean", "s_std", "s_low", "s_high"]].isna().all()
    assert row[["accuracy_mean", "log_loss"]].notna().all()


class Failing(DummyClassifier):
    """Fails on the rows of one fold."""

    def fit(self, X, y, sample_weight=None):
        if X[0, 0] != X_FIRST:
            raise ValueError("no such rows")
        return super().fit(X, y, sample_weight)


X_FIRST = X[0, 0]


def test_a_fusion_that_fails_in_a_fold_loses_that_alone():
    cv = [(np.arange(0, 150, 2), np.arange(1, 150, 2)), (np.arange(1, 150, 2), np.arange(0, 150, 2))]
    fusions = {"failing": Failing(), "plain": DummyClassifier()}
    message = r"Fusion 'failing' has no accuracy in folds \[1\].*NaN \(fold 1: ValueError: no such rows\)"
    with pytest.warns(FitFailedWarning, match=message):
        table = compare_fusions(fusions, X, y, cv=cv)
    assert np.isnan(table.loc["failing", "accuracy_mean"])
    assert table.loc["plain", "accuracy_mean"] == pytest.approx(1 / 3)
    assert table.attrs["folds"]["error"].tolist() == ["", "", "ValueError: no such rows", ""]
    with pytest.warns(FitFailedWarning, match="the mean is that of error_score"):
        table = compare_fusions(fusions, X, y, cv=cv, error_score=0)
    assert table.loc["failing", "accuracy_mean"] == pytest.approx(1 / 6)
    with pytest.raises(RuntimeError, match="Fusion 'failing' failed in fold 1: ValueError: no such rows"):
        compare_fusions(fusions, X, y, cv=cv, error_score="raise")


def test_a_scorer_that_fails_loses_itself_alone():
    def refuse(estimator, X, y):
        raise KeyError("no score today")

    with pytest.warns(FitFailedWarning, match=r"'a' has no bad in folds \[0, 1\].*bad: KeyError: 'no score today'"):
        row = compare_fusions({"a": soup()}, X, y, cv=2, scoring={"bad": refuse, "good": "accuracy"}).loc["a"]
    assert np.isnan(row["bad_mean"])
    assert np.isnan(row["gain_over_best"])  # which is that of the first score
    assert row["good_mean"] > 0


def test_where_all_fail_there_is_no_table():
    class Never(DummyClassifier):
        def fit(self, X, y, sample_weight=None):
            raise ValueError("never")

    with pytest.raises(
        RuntimeError, match="All fusions failed in all folds. Fusion 'a' failed in fold 0: ValueError: n"
    ):
        compare_fusions({"a": Never()}, X, y, cv=2)
    with pytest.raises(ValueError, match="error_score must be a number"):
        compare_fusions({"a": Never()}, X, y, cv=2, error_score="nan")


# ---- classes that are missing ----------------------------------------------------------------------------------------

RARE = np.where(np.arange(150) == 149, 2, np.arange(150) % 2)  # one row of the third class
FOLDS = [(np.arange(50, 150), np.arange(50)), (np.r_[:50, 100:150], np.arange(50, 100))]  # both test two classes


@pytest.mark.parametrize("scoring", ["neg_log_loss", make_scorer(log_loss, response_method="predict_proba")])
def test_a_score_knows_the_classes_that_a_fold_lacks(scoring):
    table = compare_fusions({"a": soup(random_state=0)}, X, RARE, cv=FOLDS, scoring={"s": scoring})
    expected = []
    for train, test in FOLDS:
        fitted = soup(random_state=0).fit(X[train], RARE[train])
        expected.append(log_loss(RARE[test], fitted.predict_proba(X[test]), labels=[0, 1, 2]))
    assert abs(table.loc["a", "s_mean"]) == pytest.approx(np.mean(expected), rel=1e-5)
    search = FusionSearch(soup(random_state=0), lambda trial: {}, n_trials=1, cv=FOLDS, scoring=scoring, refit=False)
    assert np.isfinite(search.fit(X, RARE).best_score_)


@pytest.mark.filterwarnings("ignore:Only one class is present", "ignore:scoring='roc_auc_ovr' tells nothing")
def test_an_area_under_a_curve_that_a_fold_lacks_is_nan_and_chosen_by_nobody():
    fusions = {"a": soup()}
    with pytest.warns(FitFailedWarning, match=r"has no auc in folds \[0, 1\].*undefined there"):
        table = compare_fusions(fusions, X, RARE, cv=FOLDS, scoring={"accuracy": "accuracy", "auc": "roc_auc_ovr"})
    assert np.isnan(table.loc["a", "auc_mean"])
    assert table.loc["a", "accuracy_mean"] > 0
    search = FusionSearch(soup(), lambda trial: {}, n_trials=1, cv=FOLDS, scoring="roc_auc_ovr")
    with pytest.raises(ValueError, match="None of the 1 trials has a score.*fold 0: score nan"):
        search.fit(X, RARE)


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_members_are_chosen_where_held_out_rows_lack_a_class():
    chosen = SoupClassifier(NET, collect=Seeds(2), scoring="neg_log_loss", random_state=0).fit(X, RARE)
    assert np.isfinite(chosen.merge_report_["score"])
    with pytest.warns(UndefinedMetricWarning, match="'roc_auc_ovr' tells nothing .* lack 1 of 3 classes.*log-loss"):
        other = SoupClassifier(NET, collect=Seeds(2), scoring="roc_auc_ovr", random_state=0).fit(X, RARE)
    assert other.merge_report_["score"] == pytest.approx(chosen.merge_report_["score"], rel=1e-5)


# ---- folds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "list", "frame", "sparse", "named", "odd"])
@pytest.mark.parametrize("groups", [None, np.arange(200) % 100 // 4])
def test_copies_of_a_row_are_in_one_fold(kind, groups):
    Z, labels = np.tile(np.random.RandomState(0).randn(100, 3), (2, 1)), np.tile(np.arange(100) % 3, 2)
    frame = pd.DataFrame(Z, columns=[*"abc"]).assign(text="a")
    inputs = {"array": Z, "list": Z.tolist(), "sparse": csr_array(Z), "named": {"x": Z.tolist()}, "frame": frame}
    inputs["odd"] = frame.assign(cell=[[1]] * 200)  # which has no hash: rows are all different
    splits, _ = splits_of(5, inputs[kind], labels, groups, True, 0)
    assert sorted(np.concatenate([test for _, test in splits])) == [*range(200)]
    parted = any({*(train % 100)} & {*(test % 100)} for train, test in splits)
    assert parted == (kind == "odd" and groups is None)


def test_random_labels_give_chance_where_rows_have_copies():
    """The nearest neighbour knows its rows by heart: a copy in the other part would give the label away."""
    rng = np.random.RandomState(0)
    once, labels = rng.randn(100, 3), rng.randint(2, size=100)
    found = compare_fusions({"a": KNeighborsClassifier(1)}, np.tile(once, (2, 1)), np.tile(labels, 2), random_state=0)
    assert abs(found.loc["a", "accuracy_mean"] - 0.5) < 0.2  # 4 standard errors of 100 rows


def test_folds_of_different_rows_are_those_of_scikit_learn():
    expected = [test for _, test in StratifiedKFold(3, shuffle=True, random_state=4).split(X, y)]
    seen = []
    compare_fusions({"a": DummyClassifier()}, X, y, cv=3, random_state=4, scoring=lambda e, X, y: seen.append(X) or 0.0)
    for rows, test in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(rows, X[test])


def test_a_class_of_fewer_rows_than_folds_is_reported_and_costs_no_fold():
    few = np.where(np.arange(150) < 2, "rare", np.where(np.arange(150) % 2, "a", "b"))
    with pytest.warns(UserWarning, match=r"Classes of fewer different rows than the 5 folds: 'rare' \(2\)"):
        table = compare_fusions({"a": DummyClassifier()}, X, few)
    assert table.attrs["n_folds"] == 5


def test_fewer_folds_than_asked_for_are_told_of():
    with pytest.warns(UserWarning, match="There are 50 folds and not the 60 of cv"):
        table = compare_fusions({"a": DummyClassifier()}, X, y, cv=60)
    assert table.attrs["n_folds"] == 50


def test_a_class_that_a_training_part_lacks_has_the_least_probability():
    """scikit-learn would take the columns of the known classes for the labels that are tested."""
    labels = np.array([*"abc"])[np.r_[np.tile([0, 1], 50), np.tile([0, 2], 25)]]
    split = [(np.arange(100), np.arange(100, 150))]
    fusions = {"net": soup(random_state=0), "dummy": DummyClassifier()}
    table = compare_fusions(fusions, X, labels, cv=split, scoring="neg_log_loss")
    tiny = np.finfo(np.float32).eps
    expected = -np.log(np.r_[0.5, tiny] / (1 + tiny)).mean()
    assert -table.loc["dummy", "neg_log_loss_mean"] == pytest.approx(expected, rel=1e-6)
    assert -table.loc["net", "neg_log_loss_mean"] > 0.4 * -np.log(tiny)
    np.testing.assert_allclose(-table["neg_log_loss_mean"], table["log_loss"], rtol=1e-5)


# ---- what is shared, and what it costs -------------------------------------------------------------------------------


def frozen(freeze):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    module[0].requires_grad_(not freeze)
    settings = {"criterion": nn.CrossEntropyLoss, "train_split": None, "verbose": 0, "lr": 0.1, "max_epochs": 5}
    return EnsembleClassifier(NeuralNetClassifier(module, **settings), collect=Seeds(2), random_state=0)


def test_a_frozen_net_has_members_of_its_own():
    fusions = {"full": frozen(False), "frozen": frozen(True)}
    together = compare_fusions(fusions, X, y, cv=2, random_state=0, scoring="neg_log_loss")["neg_log_loss_mean"]
    for name, fusion in fusions.items():
        alone = compare_fusions({name: fusion}, X, y, cv=2, random_state=0, scoring="neg_log_loss")
        assert together[name] == pytest.approx(alone.loc[name, "neg_log_loss_mean"])
    assert together["full"] != pytest.approx(together["frozen"], abs=1e-3)

    def space(trial):
        return {"estimator": frozen(trial.suggest_categorical("freeze", [True, False])).estimator}

    search = FusionSearch(frozen(False), space, n_trials=4, cv=2, scoring="neg_log_loss", refit=False, random_state=0)
    found = search.fit(X, y).cv_results_
    scores = dict(zip(found["param_freeze"], found["mean_test_score"], strict=True))
    assert scores[True] != pytest.approx(scores[False], abs=1e-3)


class Secret:
    """Cannot be pickled."""

    def __reduce__(self):
        raise TypeError("a secret")


SECRET = Secret()


class Guarded(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)

    def forward(self, x):
        assert SECRET is not None
        return self.layer(x)


def test_members_that_have_no_certain_key_are_trained_anew_and_this_is_told(monkeypatch, tmp_path):
    trained, fit_many, fit = [], nets.fit_many, nets.fit
    monkeypatch.setattr(nets, "fit_many", lambda *args: trained.extend(args[2]) or fit_many(*args))
    monkeypatch.setattr(nets, "fit", lambda net, *args, **kwargs: trained.append(net) or fit(net, *args, **kwargs))
    net = mlp_classifier(max_epochs=1).set_params(module=Guarded)
    fusions = {name: EnsembleClassifier(net, collect=Seeds(2), random_state=0) for name in "ab"}
    _table.warm_up("cpu")
    with pytest.warns(UserWarning, match="trained anew and not kept.*Secret.*a secret"):
        compare_fusions(fusions, X, y, cv=2)
    assert len(trained) == 2 * 2 * 2
    kept = EnsembleClassifier(net, collect=Seeds(2), memory=str(tmp_path), random_state=0)
    for _ in range(2):
        with pytest.warns(UserWarning, match="trained anew and not kept"):
            kept.fit(X, y)
    assert len(trained) == 2 * 2 * 2 + 2 * 2


class Slow(Seeds):
    """Takes a tenth of a second, and hands out the same members."""

    def __init__(self, pool):
        self.pool = pool

    def __call__(self, net, rows, rng, **others):
        torch.zeros(1)
        import time

        time.sleep(0.1)
        return ModelPool([*self.pool])


def test_each_trial_is_charged_for_its_members():
    pool = soup(random_state=0).fit(X, y).pool_

    def space(trial):
        return {"merge": Uniform(), "validation_fraction": [0.2, 0.2][trial.suggest_int("k", 0, 1)]}

    search = FusionSearch(soup(collect=Slow(pool)), space, n_trials=4, cv=2, refit=False, random_state=0)
    found = search.fit(X, y).cv_results_
    assert len({*found["param_k"]}) == 2
    assert (found["mean_fit_time"] > 0.1).all()


def test_the_first_fusion_is_not_charged_for_what_a_process_sets_up(monkeypatch):
    order, fit = [], EnsembleClassifier.fit
    monkeypatch.setattr(EnsembleClassifier, "fit", lambda self, *data: order.append("warm") or fit(self, *data))
    _table.warm_up.cache_clear()
    compare_fusions({"a": DummyClassifier()}, X, y, cv=2, callback=lambda name, fold: order.append(name))
    compare_fusions({"b": soup(), "c": soup()}, X, y, cv=2, callback=lambda name, fold: order.append(name))
    assert order == ["a", "a", "warm", "b", "c", "b", "c"]  # once a process, and before the first clock
    assert _table.device_of(EnsembleClassifier(mlp_classifier(device="cuda"))) == "cuda"


# ---- the score of a search reaches the choice of members -------------------------------------------------------------


def test_members_are_chosen_by_the_score_of_the_search():
    def scored(by, scoring=None):
        fusion = SoupClassifier(NET, collect=Seeds(2), random_state=0, scoring=scoring)
        search = FusionSearch(fusion, lambda trial: {}, n_trials=1, cv=2, scoring=by, random_state=0)
        return search.fit(X, y).best_estimator_

    assert scored("neg_log_loss").merge_report_["score"] < 0  # a log-loss
    assert scored("neg_log_loss", scoring="accuracy").merge_report_["score"] > 0
    assert scored(make_scorer(log_loss, response_method="predict_proba")).scoring is None


def test_an_error_of_a_search_may_be_raised():
    def space(trial):
        return {"fusion": Failing()} if trial.suggest_categorical("bad", [True]) else {}

    with pytest.raises(ValueError, match="no such rows"):
        FusionSearch(DummyClassifier(), space, n_trials=1, cv=2, error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="error_score must be 'raise' or NaN"):
        FusionSearch(DummyClassifier(), space, n_trials=1, cv=2, error_score=0).fit(X, y)


def test_a_regression_is_compared_too():
    fusions = {"soup": SoupRegressor(mlp_regressor(max_epochs=2), collect=Seeds(2)), "ridge": Ridge()}
    assert compare_fusions(fusions, X[:, :3], X[:, 3], cv=2, random_state=0)["r2_mean"].notna().all()
