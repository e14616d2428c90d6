"""Paired differences: intervals cover zero as often as they say, and Holm's rule is that of the paper."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, ttest_rel
from scipy.stats import t as student
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression

from skfusion.compare import compare_fusions
from skfusion.compare._differences import differences, holm, paired

X, y = load_iris(return_X_y=True)


def table_of(scores, n_train=80, n_test=20):
    """Return the frame of folds in which these fusions have these scores."""
    rows = [
        {"fusion": name, "fold": fold, "s": value, "n_train": n_train, "n_test": n_test}
        for name, values in scores.items()
        for fold, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def compared(scores, reference=None, **sizes):
    return differences(table_of(scores, **sizes), list(scores), "s", reference)


# ---- Holm ------------------------------------------------------------------------------------------------------------


def literal_holm(p):
    """Reject hypotheses one after the other, at every level that a p-value may be adjusted to."""
    m, order = len(p), sorted(range(len(p)), key=lambda i: p[i])

    def rejected(level):
        out = set()
        for rank, i in enumerate(order):
            if p[i] > level / (m - rank):
                break
            out.add(i)
        return out

    levels = sorted({min(1.0, p[i] * k) for i in range(m) for k in range(1, m + 1)} | {1.0})
    return [next((a for a in levels if i in rejected(a * (1 + 1e-12))), 1.0) for i in range(m)]


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_that_of_the_paper(seed):
    rng = np.random.default_rng(seed)
    p = rng.random(rng.integers(1, 8)) ** 3
    p[rng.integers(len(p))] = p[0]  # some are equal
    np.testing.assert_allclose(holm(p), literal_holm(p), rtol=1e-9)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.02, np.nan, 0.5]), [0.04, np.nan, 0.5])
    assert holm([0.9, 0.9]).tolist() == [1, 1]
    assert len(holm([])) == 0
    given = np.array([0.5, 0.1])
    holm(given)
    assert given.tolist() == [0.5, 0.1]


# ---- the columns -----------------------------------------------------------------------------------------------------


def test_columns_by_hand():
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(mean, 0.1, 5) for name, mean in [("a", 0.5), ("b", 0.7), ("c", 0.9)]}
    out, reference, best = compared(scores, "b")
    assert (reference, best) == ("b", "c")
    raw = []
    for name in scores:
        d = scores[name] - scores["b"]
        error = np.sqrt((1 / 5 + 20 / 80) * d.var(ddof=1))
        ends = d.mean() + np.array([-1, 1]) * student.ppf(0.975, 4) * error
        assert out.loc[name, ["difference", "difference_low", "difference_high"]].tolist() == pytest.approx(
            [d.mean(), *ends], abs=1e-12
        )
        if name != "c":
            d = scores[name] - scores["c"]
            raw.append(2 * student.sf(abs(d.mean()) / np.sqrt((1 / 5 + 20 / 80) * d.var(ddof=1)), 4))
    assert out["p_best"].tolist() == pytest.approx([*literal_holm(raw), 1.0])
    assert out["tied_with_best"].tolist() == [p >= 0.05 for p in [*literal_holm(raw), 1.0]]


def test_without_overlap_it_is_the_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 6))
    expected = ttest_rel(a, b)
    mean, low, high, p = paired(a - b, 1e12, 1)
    assert p == pytest.approx(expected.pvalue)
    assert [low, high] == pytest.approx([*expected.confidence_interval(0.95)])
    assert mean == pytest.approx((a - b).mean())


def test_copies_differ_by_nothing():
    scores = {"a": [0.1, 0.7, 0.3], "b": [0.1, 0.7, 0.3], "c": [0.0, 0.6, 0.35]}
    out, reference, best = compared(scores)
    assert reference == best == "a"  # the first of the best
    assert out.loc["b"].tolist() == out.loc["a"].tolist() == [0, 0, 0, 1, True]
    assert out.loc["c", "difference"] < 0


def test_a_difference_that_is_the_same_in_all_folds_is_certain():
    assert paired(np.full(4, 0.25), 3, 1) == (0.25, 0.25, 0.25, 0.0)


def test_a_fold_without_a_score_leaves_the_difference_unknown():
    scores = {"a": [0.5, 0.6, 0.5], "b": [0.9, np.nan, 0.9], "c": [0.5, 0.5, 0.4], "d": [0.1, -np.inf, 0.1]}
    out, reference, best = compared(scores)
    assert reference == best == "a"  # that of b is not known
    for name in "bd":
        assert out.loc[name].isna().all()
    assert out.loc[["a", "c"]].notna().all(axis=None)
    two, _, _ = compared({name: scores[name] for name in "ac"})
    assert out.loc["c", "p_best"] == two.loc["c", "p_best"]  # what is unknown is not counted
    assert out[out["tied_with_best"]].index.tolist() == ["a", "c"]  # so that a mask can be made of it
    named, _, _ = compared(scores, "b")
    assert named[["difference", "difference_low", "difference_high"]].isna().all(axis=None)
    assert named["p_best"].equals(out["p_best"])  # which is taken from the best row, whatever the reference


def test_one_fold_has_differences_and_no_intervals():
    out, _, best = compared({"a": [0.5], "b": [0.9]})
    assert out["difference"].tolist() == pytest.approx([-0.4, 0])
    assert out.loc["a", ["difference_low", "difference_high", "p_best", "tied_with_best"]].isna().all()
    assert (best, out.loc["b", "tied_with_best"]) == ("b", True)


def test_where_nothing_is_known_there_is_no_best():
    out, reference, best = compared({"a": [np.nan, 0.5], "b": [np.nan, np.nan]})
    assert reference is best is None
    assert out.isna().all(axis=None)


# ---- simulations -----------------------------------------------------------------------------------------------------

N = 2000


def simulated(k, rho, n_fusions=2):
    """Return scores of equal fusions, shape (N, n_fusions, k), whose folds correlate by ``rho``."""
    rng = np.random.default_rng(k + n_fusions)
    common = rng.normal(size=(N, n_fusions, 1)) * np.sqrt(rho)
    return common + rng.normal(size=(N, n_fusions, k)) * np.sqrt(1 - rho)


def covered(k, n_train, rho):
    """Return in how many of N tables the interval of two equal fusions covers zero."""
    ends = np.array([paired(a - b, n_train, 1)[1:3] for a, b in simulated(k, rho)])
    return int(((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).sum())


def near(count, rate):
    low, high = binom.ppf([1e-5, 1 - 1e-5], N, rate)
    return low <= count <= high


@pytest.mark.parametrize(("k", "n_train", "rho"), [(3, 2, 1 / 3), (5, 4, 1 / 5), (10, 9, 1 / 10), (5, 1e9, 0)])
def test_intervals_of_equal_fusions_cover_zero_at_their_rate(k, n_train, rho):
    """That is where folds correlate as the correction assumes; with tiny test parts, where they are independent."""
    assert near(covered(k, n_train, rho), 0.95)


def test_they_are_wide_for_independent_folds_and_narrow_for_more_similar_ones():
    wider = 1 - 2 * student.sf(student.ppf(0.975, 4) * np.sqrt(1 + 5 / 4), 4)
    assert wider == pytest.approx(0.986, abs=5e-4)  # as the docstring says
    assert near(covered(5, 4, 0), wider)
    assert near(covered(5, 4, 0.4), 0.886)


@pytest.mark.parametrize(("m", "rate"), [(2, 0.05), (5, 0.07), (10, 0.12)])
def test_how_often_equal_fusions_are_told_apart_from_the_best_of_them(m, rate):
    n_told = 0
    for scores in simulated(5, 0.2, m)[:500]:
        best = scores.mean(axis=1).argmax()
        others = [paired(s - scores[best], 4, 1)[3] for i, s in enumerate(scores) if i != best]
        n_told += int((holm(others) < 0.05).any())
    low, high = binom.ppf([1e-4, 1 - 1e-4], 500, [rate - 0.01, rate + 0.01])
    assert low <= n_told <= high


# ---- in a comparison -------------------------------------------------------------------------------------------------


def test_a_comparison_names_its_reference():
    line = LogisticRegression(max_iter=1000)
    fusions = {"line": line, "dummy": DummyClassifier(), "copy": line}
    table = compare_fusions(fusions, X, y, cv=3, random_state=0)
    assert (table.attrs["reference"], table.attrs["best"]) == ("line", "line")
    row = table.loc["copy"]
    assert row[["difference", "difference_low", "difference_high", "p_best", "tied_with_best"]].tolist() == [
        *(0, 0, 0, 1),
        True,
    ]
    assert not table.loc["dummy", "tied_with_best"]
    named = compare_fusions(fusions, X, y, cv=3, random_state=0, reference="dummy")
    assert named.attrs["reference"] == "dummy"
    assert named.attrs["best"] == "line"
    assert named.loc["line", "difference"] == pytest.approx(-table.loc["dummy", "difference"])
    assert named.loc["line", "difference_low"] > 0
    pd.testing.assert_series_equal(named["p_best"], table["p_best"])
    with pytest.raises(ValueError, match=r"reference must be the name of a row, one of \['line'.*got 'lines'"):
        compare_fusions(fusions, X, y, reference="lines")


def test_a_fusion_that_fails_in_a_fold_is_tied_with_nobody():
    class Sometimes(DummyClassifier):
        def fit(self, X, y, sample_weight=None):
            if np.bincount(y)[0] != 50:
                raise ValueError("not today")
            return super().fit(X, y, sample_weight)

    cv = [(np.arange(100), np.arange(100, 150)), (np.arange(30, 150), np.arange(30))]
    with pytest.warns(FitFailedWarning, match="not today"):
        table = compare_fusions({"a": Sometimes(), "b": DummyClassifier()}, X, y, cv=cv)
    assert table.loc["a", ["difference", "p_best", "tied_with_best"]].isna().all()
    assert table.loc["b", "tied_with_best"]
