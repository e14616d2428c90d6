"""Targets that are missing or infinite, and infinite inputs, are named before anything is trained."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skfusion import (
    EnsembleClassifier,
    EnsembleRegressor,
    PortfolioClassifier,
    PortfolioRegressor,
    SoupClassifier,
    StackingFusion,
)
from skfusion.collect import Seeds
from skfusion.compare import compare_fusions
from skfusion.data import check_columns_finite, check_targets_known
from skfusion.nets import mlp_classifier, mlp_regressor

X, Y = load_iris(return_X_y=True)
NAMES = load_iris().target_names[Y].tolist()
FRAME = pd.DataFrame(X, columns=[*"abcd"])
CLASSIFIERS = [
    EnsembleClassifier(mlp_classifier(), collect=Seeds(2)),
    SoupClassifier(collect=Seeds(2)),
    StackingFusion(mlp_classifier()),
    PortfolioClassifier(),
]
REGRESSORS = [
    EnsembleRegressor(mlp_regressor(), collect=Seeds(2)),
    StackingFusion(mlp_regressor()),
    PortfolioRegressor(),
]


class Untrained(LogisticRegression):
    """Fails where anything is trained."""

    def fit(self, X, y, sample_weight=None):
        raise AssertionError("trained")


def with_one(values, wrong, at=2, **kind):
    values = [*values]
    values[at] = wrong
    return pd.Series(values, **kind)


NO_LABEL = {
    "None": with_one(NAMES, None, dtype=object),
    "NaN": with_one(NAMES, np.nan, dtype=object),
    "NA": with_one(NAMES, pd.NA, dtype="string"),
    "category": with_one(NAMES, np.nan, dtype="category"),
    "list": with_one(NAMES, np.nan, dtype=object).tolist(),
    "array": with_one(NAMES, np.nan, dtype=object).to_numpy(),
    "codes": with_one(Y, np.nan, dtype=float).to_numpy(),
    "whole": with_one(Y, pd.NA, dtype="Int64"),
    "binary": with_one(Y > 0, pd.NA, dtype="boolean"),
    "time": with_one(pd.to_datetime(Y), pd.NaT),
}
"""Labels of which that of row 2 is missing."""
MISSING = r"y has no label \(NaN or None\) in 1 of 150 rows, the first is row 2: leave out such rows\. Semi-supervised"


# ---- targets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y", NO_LABEL.values(), ids=NO_LABEL)
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda e: type(e).__name__)
def test_a_missing_label_is_found_in_any_container(estimator, y):
    with pytest.raises(ValueError, match=MISSING):
        clone(estimator).fit(X, y)


@pytest.mark.parametrize("y", NO_LABEL.values(), ids=NO_LABEL)
def test_a_comparison_says_the_same_before_anything_is_trained(y):
    with pytest.raises(ValueError, match=MISSING):
        compare_fusions({"it": Untrained()}, X, y, error_score="raise")
    with pytest.raises(ValueError, match=MISSING):
        compare_fusions("portfolio", X, y)


@pytest.mark.parametrize("wrong", [np.nan, None, np.inf, -np.inf])
@pytest.mark.parametrize("fit", [*(e.fit for e in REGRESSORS), lambda X, y: compare_fusions({"it": Ridge()}, X, y)])
def test_values_are_finite(fit, wrong):
    y = with_one(X[:, 0], wrong, at=7, dtype=object if wrong is None else float)
    what = "is infinite" if wrong in (np.inf, -np.inf) else r"has no value \(NaN or None\)"
    with pytest.raises(ValueError, match=rf"y {what} in 1 of 150 rows, the first is row 7: leave out such rows\.$"):
        fit(X, y)


def test_rows_of_several_targets_are_counted_once():
    y = X[:, :2].copy()
    y[[4, 9]] = np.nan
    with pytest.raises(ValueError, match="in 2 of 150 rows, the first is row 4"):
        check_targets_known(y, classify=False)
    with pytest.raises(ValueError, match="y has no value .* in 150 of 150 rows"):
        check_targets_known(scipy.sparse.csr_array(np.full((150, 2), np.nan)), classify=False)


@pytest.mark.parametrize(
    "y",
    [Y, NAMES, np.array(NAMES), np.array(NAMES, object), pd.Series(NAMES, dtype="category"), ["nan", "inf"], []],
    ids=str,
)
def test_what_all_have_a_label_passes(y):
    check_targets_known(y, classify=True)


# ---- inputs --------------------------------------------------------------------------------------------------------

INFINITE = FRAME.assign(b=with_one(X[:, 1], np.inf), city=["Rome", None, "inf"] * 50)


@pytest.mark.parametrize(
    "estimator",
    [
        PortfolioClassifier(),
        PortfolioRegressor(),
        StackingFusion(estimators=[("a", Untrained()), ("b", Untrained())]),
        StackingFusion(mlp_classifier()),
    ],
    ids=["classifier", "regressor", "listed", "net"],
)
def test_infinite_inputs_are_named_once_before_the_first_fit(estimator):
    with pytest.raises(ValueError, match=r"^Column 'b' of X holds infinite values, .* put NaN or a number in their"):
        estimator.fit(INFINITE, Y)


def test_missing_inputs_are_left_to_the_members():
    table = FRAME.assign(b=with_one(X[:, 1], np.nan))
    filled = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression(max_iter=500))
    assert StackingFusion(estimators=[("filled", filled)]).fit(table, Y).score(table, Y) > 0.9


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (INFINITE.drop(columns="city").to_numpy(), "Column 1 of X"),
        (INFINITE.to_numpy(), "Column 1 of X"),
        (INFINITE.astype({"b": "Float64"}), "Column 'b' of X"),
        (INFINITE.astype({"b": "float32"}), "Column 'b' of X"),
        (INFINITE.astype({"b": object}), "Column 'b' of X"),
        (pd.DataFrame(np.full((3, 7), -np.inf)), r"Columns 0, 1, 2, 3, 4, \.\.\. of X hold infinite"),
        (scipy.sparse.csr_array([[0.0, np.inf], [1.0, 0.0]]), "Column 1 of X"),
        ({"ids": np.arange(3), "x": np.array([0, 1, np.inf])}, "Column 'x' of X"),
        (np.full((2, 1, 2, 2), [[[0, 1], [np.inf, 0]]]), "Column 2 of X"),
    ],
)
def test_infinite_values_are_found_in_inputs_of_any_kind(data, message):
    with pytest.raises(ValueError, match=message):
        check_columns_finite(data)


@pytest.mark.parametrize(
    "data",
    [
        FRAME.assign(city="inf", when=pd.Timestamp(0), kind=pd.Categorical([np.inf] * 150), none=np.nan, part=None),
        np.full((3, 2), np.nan),
        np.array([["inf", 1.0]], dtype=object),
        scipy.sparse.csr_array(np.eye(3)),
        {"x": np.eye(2), "ids": np.arange(2)},
    ],
)
def test_text_dates_and_missing_values_are_not_infinite(data):
    check_columns_finite(data)
