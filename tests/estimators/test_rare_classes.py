"""Classes of one or two rows: they lose no fit, no search and no comparison."""

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning, UndefinedMetricWarning

from skfusion import (
    CurveClassifier,
    EnsembleClassifier,
    SoupClassifier,
    StackingFusion,
    WeightAveragingClassifier,
)
from skfusion.collect import Seeds
from skfusion.combine import EnsembleSelection, Stack
from skfusion.compare import compare_fusions
from skfusion.merge import Greedy
from skfusion.nets import mlp_classifier
from skfusion.tuning import FusionSearch

RNG = np.random.RandomState(0)
X = RNG.normal(size=(62, 3)).astype(np.float32)
NET = mlp_classifier(module__hidden=(4,), max_epochs=2)
FUSIONS = {
    "soup": SoupClassifier(NET, random_state=0),
    "ensemble": EnsembleClassifier(NET, random_state=0),
    "averaging": WeightAveragingClassifier(NET, random_state=0),
    "stack": StackingFusion(NET, random_state=0),
    "out of fold": EnsembleClassifier(NET, collect=Seeds(2), combine=Stack(), random_state=0),
    "search": FusionSearch(
        SoupClassifier(NET, collect=Seeds(2), merge=Greedy(), class_weight="balanced"),
        lambda trial: {"merge__strict": trial.suggest_categorical("strict", [False, True])},
        n_trials=2,
        scoring="neg_log_loss",
        random_state=0,
    ),
}


def labels(n_rare):
    """Two classes, and a third one of n rows."""
    return np.where(np.arange(62) < n_rare, "rare", np.where(np.arange(62) % 2, "a", "b"))


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of", "ignore:Classes of fewer", "ignore:The merged network")
@pytest.mark.parametrize("n_rare", [1, 2])
@pytest.mark.parametrize("name", FUSIONS)
def test_they_lose_no_fit(name, n_rare):
    fitted = FUSIONS[name].fit(X, labels(n_rare))
    assert fitted.classes_.tolist() == ["a", "b", "rare"]
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Greedy kept 1 of", "ignore:The merged network")
@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "average_precision"])
def test_a_score_that_the_held_out_rows_do_not_define_is_named_and_loses_no_fit(scoring):
    fusions = [
        SoupClassifier(NET, collect=Seeds(2), scoring=scoring, random_state=0),
        EnsembleClassifier(NET, collect=Seeds(2), combine=EnsembleSelection(), scoring=scoring, random_state=0),
        CurveClassifier(NET, n_points=3, predict_with="best", scoring=scoring, random_state=0),
    ]
    for fusion in fusions:
        with pytest.warns(UndefinedMetricWarning, match=f"'{scoring}' tells nothing .* lack 1 of 3 classes.*log-loss"):
            fusion.fit(X, labels(1))
    members = [m.score for m in fusions[0].pool_]
    rows = fusions[0].held_out_
    for member, score in zip(fusions[0].pool_, members, strict=True):
        truth = np.searchsorted(fusions[0].classes_, labels(1)[rows])
        assert score == pytest.approx(np.log(member.predictions[np.arange(len(rows)), truth]).mean(), rel=1e-5)


@pytest.mark.parametrize("scoring", ["balanced_accuracy", "f1_macro", "neg_log_loss", "accuracy", "roc_auc_ovo"])
def test_a_score_that_is_defined_without_the_class_is_kept_and_named_by_nobody(scoring):
    """Warnings are errors here."""
    combine = EnsembleSelection()
    EnsembleClassifier(NET, collect=Seeds(2), combine=combine, scoring=scoring, random_state=0).fit(X, labels(1))


@pytest.mark.filterwarnings(
    "ignore:Only one class is present", "ignore:Classes of fewer different rows than the 3 folds.*1"
)
def test_they_lose_no_comparison():
    fusions = {"ensemble": EnsembleClassifier(NET, collect=Seeds(2)), "stack": StackingFusion(NET, n_members=2, cv=3)}
    scoring = ["neg_log_loss", "roc_auc_ovr"]
    with (
        pytest.warns(UserWarning, match=r"fewer different rows than the 3 folds: 'rare' \(2\)"),
        pytest.warns(FitFailedWarning, match="has no roc_auc_ovr in folds"),
    ):
        table = compare_fusions(fusions, X, labels(2), cv=3, scoring=scoring, random_state=0)
    assert table["neg_log_loss_mean"].notna().all()
    assert table["roc_auc_ovr_mean"].isna().all()
    assert (table.attrs["folds"]["error"] == "").all()
    np.testing.assert_allclose(-table["neg_log_loss_mean"], table["log_loss"], rtol=1e-4)
