"""Fusions of given pools with estimators as members, in comparisons and searches."""

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfusion import EnsembleClassifier, ModelPool, SoupClassifier
from skfusion.collect import Seeds
from skfusion.combine import Average, EnsembleSelection
from skfusion.compare import compare_fusions
from skfusion.nets import mlp_classifier
from skfusion.plots import LeaderboardDisplay
from skfusion.pool import LeakageWarning
from skfusion.tuning import FusionSearch

X, Y = load_wine(return_X_y=True)
TRAIN, REST = slice(0, None, 2), slice(1, None, 2)


@pytest.fixture(scope="module")
def pools():
    fitted = {
        "boosting": HistGradientBoostingClassifier(max_iter=5).fit(X[TRAIN], Y[TRAIN]),
        "linear": make_pipeline(StandardScaler(), LogisticRegression()).fit(X[TRAIN], Y[TRAIN]),
    }
    alone = ModelPool.from_estimators(fitted.items(), X[TRAIN], Y[TRAIN])
    net = mlp_classifier(max_epochs=3)
    networks = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X[TRAIN], Y[TRAIN]).pool_
    return {"alone": alone, "mixed": ModelPool([*networks, *alone], classes=networks.classes)}


@pytest.mark.parametrize("kind", ["alone", "mixed"])
def test_fusions_of_a_given_pool_are_compared(pools, kind):
    pool = pools[kind]
    fusions = {
        "average": EnsembleClassifier(collect=pool),
        "selection": EnsembleClassifier(collect=pool, combine=EnsembleSelection()),
    }
    table = compare_fusions(fusions, X[REST], Y[REST], cv=3, random_state=0)
    assert table["n_members"]["average"] == table["n_collected"]["average"] == len(pool)
    assert table["n_parameters"].isna().all()
    folds = table.attrs["folds"].query("fusion == 'average'")
    for _, row in folds.iterrows():
        assert row["gain_over_best"] == pytest.approx(row["accuracy"] - row["best_single"])
        assert row["best_single"] >= row["mean_single"]
    assert LeaderboardDisplay.from_frame(table).names
    with pytest.warns(LeakageWarning):
        compare_fusions(fusions, X[TRAIN], Y[TRAIN], cv=3, random_state=0)


def test_the_best_single_member_is_the_best_by_itself(pools):
    mixed = pools["mixed"]

    def folds(pool):
        fusions = {"average": EnsembleClassifier(collect=pool)}
        return compare_fusions(fusions, X[REST], Y[REST], cv=2, random_state=0).attrs["folds"]

    best = np.max([folds(mixed[[name]])["accuracy"] for name in mixed.names], axis=0)
    np.testing.assert_allclose(folds(mixed)["best_single"], best)


def test_a_fusion_of_weights_is_named_in_a_comparison(pools):
    fusions = {"average": EnsembleClassifier(collect=pools["mixed"]), "soup": SoupClassifier(collect=pools["mixed"])}
    with pytest.raises(RuntimeError, match="Fusion 'soup' failed in fold 0: TypeError: Member 'boosting' is a fitted"):
        compare_fusions(fusions, X[REST], Y[REST], cv=2, error_score="raise")


def test_a_search_over_soups_is_refused_before_its_trials(pools):
    search = FusionSearch(SoupClassifier(collect=pools["mixed"]), lambda trial: pytest.fail("a trial"), n_trials=1)
    with pytest.raises(TypeError, match="^Member 'boosting' is a fitted HistGradientBoostingClassifier"):
        search.fit(X[REST], Y[REST])


def test_a_search_over_fusions_takes_them(pools):
    grid = {"combine": [Average(), EnsembleSelection()]}
    search = GridSearchCV(EnsembleClassifier(collect=pools["mixed"]), grid, cv=2).fit(X[REST], Y[REST])
    assert search.best_score_ > 0.9
    scores = [
        cross_val_score(EnsembleClassifier(collect=pools["alone"]), X[REST], Y[REST], cv=2, n_jobs=n) for n in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)
