"""Rows whose inputs are frames, sparse arrays, or arrays of any dtype."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from skfusion._rows import Rows
from skfusion.data import check_table, columns_of, table

FRAME = pd.DataFrame({"a": ["u", "v", "u", "w", "u"], "b": [1.0, 2.0, 1.0, 3.0, 4.0]})
y = np.array([0, 1, 0, 1, 1])
TABLES = {
    "frame": FRAME,
    "objects": FRAME.to_numpy(dtype=object),
    "sparse": scipy.sparse.csr_array(np.array([[0, 1], [2, 0], [0, 1], [3, 0], [0, 4.0]])),
    "numbers": np.array([[0, 1], [2, 0], [0, 1], [3, 0], [0, 4.0]]),
}


def cells(X):
    X = X.toarray() if scipy.sparse.issparse(X) else X
    return pd.DataFrame(X).to_numpy().tolist()


@pytest.mark.parametrize("kind", TABLES)
def test_taking_rows_keeps_what_belongs_to_them(kind):
    X = TABLES[kind]
    rows = table(X, y)
    keys = rows.keys
    some = rows.take(np.array([3, 0])).take(np.array([1, 0, 1]))
    assert cells(some.X) == [cells(X)[i] for i in (0, 3, 0)]
    assert some.position.tolist() == [0, 3, 0]
    assert np.array_equal(some.keys, keys[[0, 3, 0]])


@pytest.mark.parametrize("kind", TABLES)
def test_equal_rows_are_one_unit_and_weights_are_repetitions(kind):
    rows = table(TABLES[kind], y)
    unit = rows.units()[1]
    assert unit[0] == unit[2]
    assert len(np.unique(unit)) == 4
    weighted = rows.take(np.array([0, 1, 3, 4]))
    weighted = Rows(weighted.X, weighted.y, np.array([2.0, 1, 1, 1]), columns=weighted.columns)
    assert cells(weighted.expanded().X) == cells(rows.expanded().X)


def test_keys_outlive_a_change_of_targets_to_labels():
    rows = table(FRAME, y)
    named = rows.with_targets(np.array(["no", "yes"])[y])
    assert named.y.tolist() == ["no", "yes", "no", "yes", "yes"]
    assert np.array_equal(named.keys, rows.keys)
    assert np.array_equal(named.take(np.array([4, 1])).keys, rows.keys[[4, 1]])


def test_numbers_stand_for_themselves():
    assert columns_of(TABLES["numbers"]) is None
    assert columns_of({"a": TABLES["numbers"]}) is None


class Memory:
    """Remembers the features, as an estimator does."""


def test_a_checked_table_has_encoded_targets_and_rows_of_positive_weight():
    labels = np.array(["no", "yes"])[y]
    rows, classes, flat = check_table(Memory(), {"x": y}, labels, [1, 0, 2, 1, 1], groups=list("aabbb"), classify=True)
    assert classes.tolist() == ["no", "yes"]
    assert flat
    assert (rows.task, rows.y.tolist(), rows.position.tolist()) == ("classification", [0, 0, 1, 1], [0, 2, 3, 4])
    assert rows.groups.tolist() == [0, 1, 1, 1]
    rows, classes, flat = check_table(Memory(), {"x": y}, np.c_[y, y], None, classify=False)
    assert (rows.task, rows.y.shape, classes, flat) == ("regression", (5, 2), None, False)
