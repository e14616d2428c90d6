"""Scorers are known, of the right task, and able to score the target, before anything is trained."""

import numpy as np
import pytest
from sklearn.metrics import get_scorer_names

from skfusion.cli._scoring import checked, near_matches, task_of, what_is_wrong
from skfusion.cli._sources import DataError

TWO, TEXT, THREE = np.arange(60) % 2, np.array(["bad", "good"] * 30), np.arange(60) % 3
VALUES = np.linspace(-1, 1, 60)

REGRESSION = {
    "r2",
    "explained_variance",
    "d2_absolute_error_score",
    *(n for n in get_scorer_names() if n.startswith("neg_") and ("error" in n or "deviance" in n)),
}


def test_every_scorer_has_its_task():
    assert {name for name in get_scorer_names() if task_of(name) == "regression"} == REGRESSION


@pytest.mark.parametrize(
    ("name", "near", "task"),
    [
        ("rmse", "neg_root_mean_squared_error", "regression"),
        ("mae", "neg_mean_absolute_error", "regression"),
        ("mse", "neg_mean_squared_error", "regression"),
        ("auc", "roc_auc", "classification"),
        ("log_loss", "neg_log_loss", "classification"),
        ("logloss", "neg_log_loss", "classification"),
        ("acuracy", "accuracy", "classification"),
        ("F1", "f1", "classification"),
        ("brier", "neg_brier_score", "classification"),
        ("ece", "neg_ece", "classification"),
    ],
)
def test_near_matches(name, near, task):
    assert near in near_matches(name, task)
    assert len(near_matches(name, task)) <= 5
    other = "regression" if task == "classification" else "classification"
    for each in ("classification", "regression"):
        assert {task_of(found) for found in near_matches(name, each)} <= {each}
    assert near not in near_matches(name, other)


def test_scorers_of_the_other_task_are_not_proposed():
    with pytest.raises(DataError, match="--scoring log is unknown; did you mean [^?]*neg_log_loss") as caught:
        checked(["log"], TWO, "classification")
    assert "squared" not in str(caught.value)
    with pytest.raises(DataError, match="did you mean [^?]*neg_mean_squared_log_error") as caught:
        checked(["log"], VALUES, "regression")
    assert "neg_log_loss" not in str(caught.value)
    with pytest.raises(DataError, match="--scoring rmse is unknown; usual ones are accuracy"):
        checked(["rmse"], TWO, "classification")


@pytest.mark.parametrize("y", [TWO, TEXT, THREE])
def test_usual_scorers_of_classes_in_the_given_order(y):
    names = ["neg_log_loss", "accuracy", "f1_macro", "roc_auc_ovr", "balanced_accuracy", "neg_ece", "neg_brier_score"]
    assert checked([*names[:4], "accuracy", *names[4:]], y, "classification") == names


def test_usual_scorers_of_values():
    names = sorted(REGRESSION - {"neg_mean_gamma_deviance", "neg_mean_poisson_deviance"})
    names = [name for name in names if "log" not in name]
    assert checked(names, VALUES, "regression") == names


@pytest.mark.parametrize(
    ("name", "y", "task", "message"),
    [
        ("rmse", VALUES, "regression", "is unknown; did you mean neg_root_mean_squared_error"),
        ("xyzzy", VALUES, "regression", "is unknown; usual ones are r2"),
        ("accuracy", VALUES, "regression", "is for classification, and this is regression: take r2"),
        ("r2", TWO, "classification", "is for regression, and this is classification: take accuracy"),
        ("neg_ece", VALUES, "regression", "is for classification, and this is regression"),
        ("rand_score", VALUES, "regression", "is for classification"),
        (
            "f1",
            TEXT,
            "classification",
            "cannot score this target: pos_label=1 .* Take f1_macro, f1_micro, f1_weighted.",
        ),
        ("precision", THREE, "classification", "Target is multiclass .*precision_macro"),
        ("roc_auc", THREE, "classification", "multi_class .* Take roc_auc_ovo"),
        ("top_k_accuracy", TWO, "classification", "every prediction would have a perfect score"),
        ("neg_mean_squared_log_error", VALUES - 1, "regression", "cannot score this target: Mean Squared Log"),
    ],
)
def test_what_cannot_score(name, y, task, message):
    with pytest.raises(DataError, match=f"--scoring {name} {message}" if message[:2] == "is" else message):
        checked(["accuracy", name] if task == "classification" else ["r2", name], y, task)


def test_a_scorer_that_suits_has_nothing_wrong():
    assert what_is_wrong("f1", TWO, "classification") == ""
    assert what_is_wrong("top_k_accuracy", THREE, "classification") == ""
