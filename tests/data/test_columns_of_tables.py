"""What folds see of the inputs of tables."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfusion import StackingFusion
from skfusion.compare._splits import splits_of
from skfusion.data import folds, table

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
    cells = pd.DataFrame(X.toarray() if scipy.sparse.issparse(X) else X)
    known = cells.groupby([*cells.columns], dropna=False, sort=False, observed=True).ngroup()
    found = table(X, np.zeros(len(cells))).input_keys
    pairs = len({*zip(known, found, strict=True)})
    assert pairs == known.nunique() == len(np.unique(found))


def test_words_are_categories_for_all_that_makes_folds():
    """Rows of equal categories and noisy labels are split one by one, as new data has the same ones."""
    parts = folds(table(WORDS, y), 5, "classification")
    assert [len(test) for _, test in parts] == [120] * 5
    compared, _ = splits_of(5, WORDS, y, None, True, 0)
    assert [len(test) for _, test in compared] == [120] * 5
    member = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression())
    StackingFusion(estimators=[("line", member)], cv=5).fit(WORDS, y)  # raises where a fold lacks a category
