"""Medians of predictions."""

from statistics import median

import numpy as np
import pytest
from combine.guesses import guesses

from skfusion.combine import Median


@pytest.mark.parametrize("n_members", [1, 4, 5])
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_medians_match_loops(task, n_members):
    P, y = guesses(task, n_members)
    found = Median().fit(P, y, task)(P)
    for i in range(P.shape[1]):
        row = [median(P[:, i, c].tolist()) for c in range(P.shape[2])]
        total = sum(row) if task == "classification" else 1
        assert found[i] == pytest.approx([v / total for v in row], abs=1e-14)


def test_the_mean_stands_in_where_all_medians_are_zero():
    P = np.eye(3)[:, None, :].repeat(2, axis=1)
    P[:, 1] = [0.2, 0.3, 0.5]
    found = Median().fit(P, np.zeros(2, int), "classification")(P)
    assert np.allclose(found, [[1 / 3] * 3, [0.2, 0.3, 0.5]], rtol=0, atol=1e-15)


def test_one_wild_member_does_not_count():
    P, y = guesses("regression", 5)
    fitted = Median().fit(P, y, "regression")
    wild = P.copy()
    wild[0] = 1e9
    assert (np.abs(fitted(wild) - y) < 1e3).all()
    assert np.array_equal(fitted(wild[1:]), fitted(P[1:]))


def test_a_median_stays_in_the_range_of_the_others_before_it_is_divided():
    P = np.array([[[0.5, 0.3, 0.2]], [[0.2, 0.5, 0.3]], [[0.0, 1.0, 0.0]]])
    plain = Median().fit(P, np.array([[0, 1, 0]]), "multilabel")(P)
    assert plain.tolist() == [[0.2, 0.5, 0.2]]  # as the docstring says
    found = Median().fit(P, np.array([0]), "classification")(P)
    assert np.allclose(found, plain / 0.9, rtol=0, atol=1e-15)
    assert found[0, 1] > P[:2, 0, 1].max()


def test_dtype_is_kept():
    P, y = guesses("classification")
    assert Median().fit(P, y, "classification")(P.astype(np.float32)).dtype == np.float32


def test_it_must_know_the_task():
    with pytest.raises(ValueError, match="Median must be fitted"):
        Median()(guesses("regression")[0])
