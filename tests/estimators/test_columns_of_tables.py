"""What folds see of the inputs of tables."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfusion import StackingFusion
from skfusion._rows import Rows
from skfusion.compare._splits import splits_of
from skfusion.estimators.support._crossfit import Table
from skfusion.estimators.support._folds import folds

RNG = np.random.RandomState(0)
WORDS = pd.DataFrame({"colour": RNG.choice(list("abcdefgh"), 600), "size": RNG.randint(3, size=600)})
y = RNG.randint(2, size=600)
MIXED = pd.DataFrame({"when": pd.date_range("2020", periods=50), "name": list("abcde") * 10, "x": RNG.normal(size=50)})


@pytest.mark.parametrize(
    "X",
    [
        WORDS,
        WORDS.to_numpy(),
        WORDS.astype("category"),
        MIXED,
        MIXED.to_numpy(),
        scipy.sparse.csr_array(np.eye(20)[RNG.randint(20, size=60)]),
        {"a": np.arange(30.0) % 7, "b": np.arange(30) % 2},
        pd.DataFrame({"x": pd.array([1, None, 1, 3], dtype="Int64"), "z": ["a", None, "a", "b"]}),
    ],
    ids=lambda X: type(X).__name__,
)
def test_they_are_equal_where_the_inputs_are(X):
    table = Table(X, np.zeros(len(X["a"]) if isinstance(X, dict) else X.shape[0]))
    rows = Rows(table.columns, np.zeros(len(table)))
    known, found = (np.unique(keys, return_inverse=True)[1] for keys in (table.input_keys, rows.input_keys))
    pairs = len(np.unique(np.column_stack([known, found]), axis=0))
    assert pairs == len(np.unique(known)) == len(np.unique(found))


def test_words_are_categories_for_all_that_makes_folds():
    """Rows of equal categories and noisy labels are split one by one, as new data has the same ones."""
    parts = folds(Rows(Table(WORDS, y).columns, y), 5, "classification")
    assert [len(test) for _, test in parts] == [120] * 5
    compared, _ = splits_of(5, WORDS, y, None, True, 0)
    assert [len(test) for _, test in compared] == [120] * 5
    member = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression())
    StackingFusion(estimators=[("line", member)], cv=5).fit(WORDS, y)  # raises where a fold lacks a category
