"""Inputs that are as checks would return them are not checked again; all others are."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from skfusion import SoupClassifier
from skfusion.data import _validation
from skfusion.nets import mlp_classifier

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)


@pytest.fixture
def soup():
    return SoupClassifier(mlp_classifier(max_epochs=2), random_state=0).fit(X, Y)


def count_checks(monkeypatch):
    calls, plain = [], _validation.validate_data
    monkeypatch.setattr(_validation, "validate_data", lambda *args, **kw: calls.append(1) or plain(*args, **kw))
    return calls


def test_rows_in_float32_are_taken_as_they_are(soup, monkeypatch):
    calls = count_checks(monkeypatch)
    few = soup.predict_proba(X[:3])
    assert not calls
    np.testing.assert_array_equal(few, soup.predict_proba(X[:3].astype(np.float64)))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.float32([[1, 2, np.nan, 4]]), "NaN"),
        (np.float32([[1, 2, np.inf, 4]]), "infinity"),
        (X[:, :3].copy(), "4 features"),
        (X[:0], "0 sample"),
        (X[0], "1D|shape"),
    ],
    ids=["NaN", "infinity", "columns", "empty", "one axis"],
)
def test_other_rows_are_checked(soup, wrong, message):
    with pytest.raises(ValueError, match=message):
        soup.predict_proba(wrong)


def test_arrays_that_are_not_contiguous_and_large_numbers_are_taken(soup):
    large = np.full((2, 4), 3e38, np.float32)
    np.testing.assert_array_equal(soup.predict_proba(large), soup.predict_proba(large.astype(np.float64)))
    np.testing.assert_array_equal(soup.predict_proba(X[::2]), soup.predict_proba(X[::2].copy()))


def test_names_of_columns_are_still_compared():
    named = SoupClassifier(mlp_classifier(max_epochs=2), random_state=0).fit(pd.DataFrame(X, columns=[*"abcd"]), Y)
    with pytest.warns(UserWarning, match="feature names"):
        named.predict_proba(X[:3])
