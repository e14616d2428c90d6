"""No row of a comparison depends on which others stand in it."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import (
    BoostingFusion,
    CurveClassifier,
    DropoutEnsembleClassifier,
    EnsembleClassifier,
    SnapshotEnsembleClassifier,
    SoupClassifier,
    StackingFusion,
    WeightAveragingClassifier,
)
from skfusion.collect import Bootstrap, Seeds
from skfusion.combine import EnsembleSelection, Stack
from skfusion.compare import _table, compare_fusions
from skfusion.connect import Line
from skfusion.merge import Greedy, Uniform
from skfusion.nets import mlp_classifier

X, y = load_iris(return_X_y=True)
X = X + np.linspace(0, 1e-3, 150)[:, None]  # no two rows are alike
NET = mlp_classifier(max_epochs=2, module__hidden=(4,))
DROPPED = mlp_classifier(max_epochs=2, module__hidden=(4,), module__dropout=0.5)
TIMES = ["collect_seconds", "fuse_seconds", "predict_us_per_row"]
AGAINST_OTHERS = ["difference", "difference_low", "difference_high", "p_best", "tied_with_best"]


class Scribbler(ClassifierMixin, BaseEstimator):
    """Writes into the rows that it is given."""

    def fit(self, X, y):
        X[:] = 0
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        X[:] = 0
        return np.zeros(len(X), int)


class Drawing(DummyClassifier):
    """Draws from the global generator, and as much as it likes."""

    def predict(self, X):
        return np.random.randint(3, size=len(X))  # noqa: NPY002


class Line2(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x.float())


ROWS = {
    "uniform": SoupClassifier(NET, collect=Seeds(2), merge=Uniform()),
    "greedy": SoupClassifier(NET, collect=Seeds(2), merge=Greedy()),
    "ensemble": EnsembleClassifier(NET, collect=Seeds(2)),
    "selection": EnsembleClassifier(NET, collect=Seeds(2), combine=EnsembleSelection()),
    "small part": EnsembleClassifier(NET, collect=Seeds(2), combine=EnsembleSelection(), validation_fraction=0.4),
    "stack": EnsembleClassifier(NET, collect=Seeds(2), combine=Stack(), cv=2),
    "bagging": EnsembleClassifier(NET, collect=Bootstrap(2)),
    "piped": make_pipeline(StandardScaler(), EnsembleClassifier(NET, collect=Seeds(2))),
    "swa": WeightAveragingClassifier(NET),
    "snapshots": SnapshotEnsembleClassifier(NET, n_cycles=2),
    "curve": CurveClassifier(NET, collect=Seeds(2), connect=Line(), n_points=3),
    "dropout": DropoutEnsembleClassifier(DROPPED, n_passes=2),
    "boosting": BoostingFusion(mlp_classifier(max_epochs=15, module__hidden=(8,), batch_size=16), n_members=2),
    "stacking": StackingFusion(NET, n_members=2, cv=2),
    "scribbler": Scribbler(),
    "drawing": Drawing(),
    "skorch": NeuralNetClassifier(Line2, criterion=nn.CrossEntropyLoss, max_epochs=2, verbose=0, train_split=None),
    "logistic": LogisticRegression(max_iter=500),
}


def compared(names, **params):
    given = {"cv": 2, "random_state": 0, "scoring": ["neg_log_loss", "accuracy"], **params}
    fusions = {name: ROWS[name] for name in names}
    with pytest.warns(FitFailedWarning) if "scribbler" in names else nullcontext():
        return compare_fusions(fusions, X.astype(np.float32), y, **given)


@pytest.fixture(scope="module")
def company():
    return compared(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_each_row_alone_is_what_it_is_in_company(name, company):
    alone = compared([name]).attrs["folds"].drop(columns=[*TIMES, "fusion"])
    folds = company.attrs["folds"]
    beside = folds[folds["fusion"] == name].drop(columns=[*TIMES, "fusion"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(alone[beside.columns], beside, check_dtype=False, rtol=1e-6)


def test_other_orders_and_baselines_change_nothing(company):
    names = [name for name in [*ROWS][::-1] if name not in ("boosting", "stacking", "curve")]
    table = compared(names, baselines=["dummy"])
    pd.testing.assert_frame_equal(
        table.loc[names].drop(columns=[*TIMES, *AGAINST_OTHERS]),
        company.loc[names].drop(columns=[*TIMES, *AGAINST_OTHERS]),
        check_dtype=False,
        rtol=1e-6,
    )


def test_it_is_what_cross_validation_of_that_fusion_gives(company):
    splitter = StratifiedKFold(2, shuffle=True, random_state=0)
    for name in ("greedy", "ensemble", "selection"):
        fusion = clone(ROWS[name]).set_params(random_state=0)
        scores = cross_val_score(fusion, X.astype(np.float32), y, cv=splitter, scoring="accuracy")
        assert company.loc[name, "accuracy_mean"] == pytest.approx(scores.mean())


def test_the_table_says_which_rows_members_were_trained_on(company):
    assert company.loc[["uniform", "ensemble", "stack", "swa", "logistic"], "n_held_out"].eq(0).all()
    assert company.loc["greedy", "n_held_out"] == company.loc["selection", "n_held_out"] == 15
    assert company.loc["small part", "n_held_out"] == 30
    told = company.attrs["trained_on"]
    assert told["ensemble"] == told["logistic"] == "all rows"
    assert told["greedy"] == "all but the held-out rows (validation_fraction=0.2)"
    assert company.attrs["hold_out"] == "auto"


def test_all_hold_out_the_same_rows_where_this_is_asked_for(company):
    names = ["uniform", "greedy", "selection", "ensemble", "logistic"]
    table = compared(names, hold_out=True)
    assert table["n_held_out"].tolist() == [15, 15, 15, 15, 0]
    assert table.attrs["trained_on"]["uniform"] == "all but the held-out rows (validation_fraction=0.2)"
    assert table.attrs["hold_out"] is True
    same = ["greedy", "selection", "logistic"]
    np.testing.assert_allclose(table.loc[same, "neg_log_loss_mean"], company.loc[same, "neg_log_loss_mean"])
    alone = compared(["ensemble"], hold_out=True)
    assert alone.loc["ensemble", "neg_log_loss_mean"] == pytest.approx(table.loc["ensemble", "neg_log_loss_mean"])
    assert abs(table.loc["ensemble", "neg_log_loss_mean"] - company.loc["ensemble", "neg_log_loss_mean"]) > 1e-4


def test_nobody_may_hold_out_rows_where_this_is_forbidden(company):
    table = compared(["uniform", "ensemble"], hold_out=False)
    assert table.loc["uniform", "accuracy_mean"] == pytest.approx(company.loc["uniform", "accuracy_mean"])
    with pytest.raises(ValueError, match=r"hold_out=False.*\['greedy', 'selection'\].*leave them out"):
        compared(["greedy", "uniform", "selection"], hold_out=False)
    with pytest.raises(ValueError, match="hold_out must be 'auto', True or False; got 'all'"):
        compared(["uniform"], hold_out="all")


def test_members_of_a_given_pool_were_trained_elsewhere():
    pool = EnsembleClassifier(NET, collect=Seeds(2), random_state=0).fit(X[::2], y[::2]).pool_
    fusions = {"given": SoupClassifier(collect=pool, merge=Uniform())}
    table = compare_fusions(fusions, X[1::2], y[1::2], cv=2, random_state=0)
    assert np.isnan(table.loc["given", "n_held_out"])
    assert table.attrs["trained_on"] == {"given": "rows of a given pool"}


def test_global_generators_are_left_as_they_were(untouched_rng):
    compared(["drawing", "skorch"])


# ---- the best single network, in hindsight ---------------------------------------------------------------------------


def test_a_gain_is_over_the_best_member_of_the_same_pool(company):
    """Members that were trained on all rows are none of those of a fusion that holds some out."""
    for name in ("greedy", "selection", "ensemble", "bagging"):
        gains = []
        for train, test in StratifiedKFold(2, shuffle=True, random_state=0).split(X, y):
            fusion = clone(ROWS[name]).set_params(random_state=0).fit(X[train].astype(np.float32), y[train])
            members = EnsembleClassifier().fuse(fusion.pool_, X[train].astype(np.float32), y[train])
            P = members.predict_members(X[test].astype(np.float32))
            single = [np.log(p[np.arange(len(test)), y[test]]).mean() for p in P]
            proba = fusion.predict_proba(X[test].astype(np.float32))
            gains.append(np.log(proba[np.arange(len(test)), y[test]]).mean() - max(single))
        assert company.loc[name, "gain_over_best"] == pytest.approx(np.mean(gains), abs=1e-5)


# ---- what fails loses itself alone -----------------------------------------------------------------------------------


class Unsure(DummyClassifier):
    """Has no probabilities, though it seems so."""

    def predict_proba(self, X):
        return np.full((len(X), 3), np.nan)


class Broken(DummyClassifier):
    def predict_proba(self, X):
        raise RuntimeError("out of order")


@pytest.mark.parametrize(("kind", "reason"), [(Unsure, "NaN"), (Broken, "RuntimeError: out of order")])
def test_probabilities_that_fail_lose_the_log_loss_and_no_score(kind, reason):
    scoring = ["accuracy", "neg_log_loss", "roc_auc_ovr"]
    fusions = {"bad": kind(), "good": LogisticRegression(max_iter=500)}
    message = f"'bad' has no neg_log_loss, roc_auc_ovr, log_loss in folds .*{reason}"
    with pytest.warns(FitFailedWarning, match=message):
        table = compare_fusions(fusions, X, y, cv=3, random_state=0, scoring=scoring)
    bad = table.loc["bad"]
    assert bad[["neg_log_loss_mean", "roc_auc_ovr_mean", "log_loss", "ece"]].isna().all()
    assert bad["accuracy_mean"] == pytest.approx(1 / 3, abs=0.02)
    assert bad[["predict_us_per_row", "collect_seconds"]].notna().all()
    assert (
        table.loc["good"]
        .drop(["gain_over_best", "gain_over_mean", "n_parameters", "n_bytes", "n_merged"])
        .notna()
        .all()
    )
    with pytest.raises(RuntimeError, match="Fusion 'bad' failed in fold 0"):
        compare_fusions(fusions, X, y, cv=3, random_state=0, error_score="raise")


def test_a_score_of_probabilities_of_an_estimator_that_has_none():
    class Hard(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.zeros(len(X), int)

    fusions = {"hard": Hard(), "soup": ROWS["uniform"]}
    with pytest.warns(FitFailedWarning, match=r"'hard' has no neg_log_loss in folds \[0, 1\]"):
        table = compare_fusions(fusions, X, y, cv=2, scoring=["neg_log_loss", "accuracy"], random_state=0)
    assert np.isnan(table.loc["hard", "neg_log_loss_mean"])
    assert table.loc["hard", ["difference", "tied_with_best"]].isna().all()
    assert table.loc["hard", "accuracy_mean"] == pytest.approx(1 / 3)
    assert table.attrs["best"] == "soup"


# ---- chance, and clocks ----------------------------------------------------------------------------------------------


def test_random_labels_give_chance_for_every_fusion():
    rng = np.random.RandomState(3)
    noise, labels = rng.randn(240, 4).astype(np.float32), rng.randint(2, size=240)
    noise, labels = np.r_[noise, noise[:60]], np.r_[labels, labels[:60]]  # copies would give their labels away
    names = [name for name in ROWS if name not in ("scribbler", "drawing", "skorch")]
    table = compare_fusions({n: ROWS[n] for n in names}, noise, labels, cv=3, random_state=0, baselines=True)
    assert (table["accuracy_mean"] - 0.5).abs().max() < 4.5 * 0.5 / np.sqrt(240)  # of 17 rows
    assert (table["log_loss"] > np.log(2) - 0.03).all()


def test_what_a_process_sets_up_is_on_no_clock():
    """The hash of this library's files, with which keys of shared members begin, is made before the first of them."""
    from skfusion.nets import _fingerprint

    _table.warm_up.cache_clear()
    _fingerprint._versions.cache_clear()
    _table.warm_up("cpu")
    compare_fusions({"a": ROWS["uniform"]}, X, y, cv=2, random_state=0)
    assert _fingerprint._versions.cache_info().misses == 1
    assert _fingerprint._versions.cache_info().hits > 1


def test_scikit_learn_is_set_up_before_the_clock_of_its_first_estimator():
    _table.warm_up_others.cache_clear()
    seen = []

    def fit(self, X, y):
        seen.append(_table.warm_up_others.cache_info().currsize)
        return DummyClassifier.fit(self, X, y)

    watched = type("Watched", (DummyClassifier,), {"fit": fit})
    compare_fusions({"a": watched()}, X, y, cv=2, random_state=0)
    assert seen == [1, 1]
