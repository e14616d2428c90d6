"""Folds for out-of-fold predictions: scikit-learn's where no rows are equal, and honest where some are."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.neighbors import KNeighborsClassifier

from skfusion import EnsembleClassifier, StackingFusion
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.combine import EnsembleSelection, Stack, WeightedAverage
from skfusion.data import ALWAYS_SO, folds
from skfusion.nets import mlp_classifier

RNG = np.random.RandomState(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = RNG.randint(3, size=60)
VALUES = RNG.normal(size=(60, 1)).astype(np.float32)
GROUPS = RNG.randint(9, size=60)


def same(found, expected):
    """Whether two lists of folds are equal."""
    pairs = list(zip(found, expected, strict=True))
    return all(np.array_equal(a, b) for fold, other in pairs for a, b in zip(fold, other, strict=True))


# ---- parity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, np.int64(5), np.int32(3)], ids=repr)
def test_a_number_gives_scikit_learns_folds(n):
    Z = np.zeros(60)
    assert same(folds(Rows(X, Y), n, "classification"), StratifiedKFold(int(n)).split(Z, Y))
    assert same(folds(Rows(X, VALUES), n, "regression"), KFold(int(n)).split(Z))
    assert same(folds(Rows(X, VALUES, None, GROUPS), n, "regression"), GroupKFold(int(n)).split(Z, None, GROUPS))
    found = folds(Rows(X, Y, None, GROUPS), n, "classification")
    assert same(found, StratifiedGroupKFold(int(n)).split(Z, Y, GROUPS))


@pytest.mark.parametrize("twice", [False, True])
def test_splitters_are_obeyed_and_get_targets_and_groups(twice):
    index = np.repeat(np.arange(60), 2) if twice else np.arange(60)
    Z, y, groups = np.zeros(len(index)), Y[index], GROUPS[index]
    for splitter in (StratifiedKFold(4), StratifiedKFold(3, shuffle=True, random_state=0), KFold(3)):
        assert same(folds(Rows(X[index], y), splitter, "classification"), splitter.split(Z, y))
    for splitter in (LeaveOneGroupOut(), StratifiedGroupKFold(3)):
        assert same(folds(Rows(X[index], y, None, groups), splitter, "classification"), splitter.split(Z, y, groups))
    with pytest.warns(UserWarning, match="groups parameter is ignored by KFold"):
        next(folds(Rows(X[index], y, None, groups), KFold(3), "classification"))


@pytest.mark.parametrize("n_labels", [1, 2])
def test_splitters_see_targets_of_any_shape(n_labels):
    seen = []

    class Spy(KFold):
        def split(self, X, y=None, groups=None):
            seen.append((y.shape, groups))
            return super().split(X, y)

    rows = Rows(X, np.repeat(VALUES, n_labels, axis=1), None, GROUPS)
    assert len([*folds(rows, Spy(3), "regression")]) == 3
    assert seen[0][0] == ((60,) if n_labels == 1 else (60, 2))
    assert seen[0][1] is GROUPS


# ---- equal rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("how", ["repeat", "tile", "some"])
def test_repeated_rows_are_folded_as_the_row_is(task, grouped, how):
    times = {"repeat": np.full(60, 2), "tile": None, "some": np.random.RandomState(1).randint(1, 4, size=60)}[how]
    index = np.tile(np.arange(60), 2) if times is None else np.repeat(np.arange(60), times)
    y, groups = Y if task == "classification" else VALUES, GROUPS if grouped else None
    rows = Rows(X, y, None, groups)
    repeated = [*folds(rows.take(index), 4, task)]
    for (train, test), (once, tested) in zip(repeated, folds(rows, 4, task), strict=True):
        assert not set(index[train]) & set(index[test])
        assert np.array_equal(np.unique(index[train]), once)
        assert np.array_equal(np.unique(index[test]), tested)
        assert len(train) + len(test) == len(index)


def test_one_pair_of_equal_rows_stays_together():
    iris, labels = load_iris(return_X_y=True)
    parts = [*folds(Rows(iris, labels), 5, "classification")]
    of = np.empty(150, int)
    for i, (_, test) in enumerate(parts):
        of[test] = i
    assert np.array_equal(iris[101], iris[142])
    assert of[101] == of[142]
    plain = np.empty(150, int)
    for i, (_, test) in enumerate(StratifiedKFold(5).split(iris, labels)):
        plain[test] = i
    assert np.flatnonzero(of != plain).tolist() == [142]  # which is all that parts them from scikit-learn's


def test_few_categories_are_folded_as_scikit_learn_does():
    rng = np.random.RandomState(0)
    A, b = rng.randint(3, size=(60, 2)).astype(float), rng.randint(2, size=60)
    assert same(folds(Rows(A, b), 5, "classification"), StratifiedKFold(5).split(A, b))


def categories():
    """A category that makes a class likely: (X, y, its probability of being right)."""
    rng = np.random.RandomState(0)
    A = rng.randint(2, size=(600, 1)).astype(np.float32)
    return A, (rng.uniform(size=600) < np.where(A[:, 0] > 0, 0.75, 0.25)).astype(int)


def test_noisy_labels_of_equal_inputs_do_not_turn_a_stack_around():
    A, b = categories()
    ours = StackingFusion(estimators=[("line", LogisticRegression())], cv=5).fit(A, b)
    cv = StratifiedKFold(5, shuffle=True, random_state=ALWAYS_SO)
    theirs = StackingClassifier([("line", LogisticRegression())], cv=cv).fit(A, b)
    np.testing.assert_allclose(ours.predict_proba(A), theirs.predict_proba(A), atol=1e-6)
    assert ours.score(A, b) > 0.7  # 0.27 where equal rows, but not those of equal inputs, were kept together


@pytest.mark.parametrize("combine", [Stack(), EnsembleSelection(), WeightedAverage()], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("n_columns", [1, 3])
def test_nor_do_they_turn_an_ensemble_around(combine, n_columns):
    A, b = categories()
    A = np.c_[A, np.random.RandomState(1).randint(4, size=(600, n_columns - 1))].astype(np.float32)
    ensemble = EnsembleClassifier(mlp_classifier(max_epochs=10), collect=Seeds(2), combine=combine, random_state=0)
    assert ensemble.fit(A, b).score(A, b) > 0.7


@pytest.mark.filterwarnings("ignore:Classes of fewer different rows")
def test_a_class_of_copies_does_not_end_stratification():
    rng = np.random.RandomState(0)
    A = np.vstack([rng.normal(size=(60, 4)), rng.normal(size=(60, 4)) + 3, np.repeat(rng.normal(size=(1, 4)), 10, 0)])
    b = np.repeat([0, 1, 2], [60, 60, 10])
    for n in (2, 3, 5):
        for train, _ in folds(Rows(A, b), n, "classification"):
            assert np.bincount(b[train])[:2].min() >= 60 * (n - 1) // n - 1


@pytest.mark.parametrize("weighted", [True, False])
def test_memory_of_repetitions_is_not_taken_for_skill(weighted):
    """One neighbour repeats what it has seen: confident in itself where a row's like was in its training part."""
    rng = np.random.RandomState(0)
    A, b, new = rng.normal(size=(200, 5)), rng.randint(2, size=200), rng.normal(size=(500, 5))
    stack = StackingFusion(estimators=[("near", KNeighborsClassifier(1))], cv=5)
    if weighted:
        stack.fit(A, b, sample_weight=np.full(200, 2))
    else:
        index = np.repeat(np.arange(200), 2)
        stack.fit(A[index], b[index])
    assert stack.predict_proba(new).max(axis=1).mean() < 0.6  # 0.9 where they were parted


def test_a_stack_of_networks_takes_weights_as_repetitions_with_a_number_of_folds():
    weight = np.random.RandomState(0).randint(0, 4, size=60)
    index = np.repeat(np.arange(60), weight)
    ensemble = EnsembleClassifier(mlp_classifier(max_epochs=3), collect=Seeds(2), combine=Stack(), cv=3, random_state=0)
    weighted = ensemble.fit(X, Y, sample_weight=weight).predict_proba(X)
    repeated = ensemble.fit(X[index], Y[index]).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cv", [1, 0, -3, np.int64(1), True], ids=repr)
def test_numbers_below_two_are_refused(cv):
    with pytest.raises(ValueError, match=f"cv must be at least 2 folds; got cv={int(cv)}"):
        [*folds(Rows(X, Y), cv, "classification")]


@pytest.mark.parametrize("cv", [2.5, "five"])
def test_what_is_no_cv_is_refused(cv):
    with pytest.raises(ValueError, match="Expected `cv` as an integer"):
        [*folds(Rows(X, Y), cv, "classification")]


def test_rows_that_are_all_equal_are_refused():
    with pytest.raises(ValueError, match="at least 2 different rows; got n_samples=9, all of them equal"):
        [*folds(Rows(np.ones((9, 2)), np.ones((9, 1))), 3, "regression")]


def test_one_group_is_refused():
    with pytest.raises(ValueError, match="at least 2 groups; got 1"):
        [*folds(Rows(X, Y, None, np.zeros(60, int)), np.int64(3), "classification")]


def test_a_rare_class_reduces_no_number_of_folds_and_is_named():
    y = np.r_[np.zeros(30), np.ones(27), np.full(2, 2), 3].astype(int)
    named = r"Classes of fewer different rows than the 10 folds: 'c' \(2\), 'd' \(1\)\. .* class of one row is unknown"
    with pytest.warns(UserWarning, match=named):
        parts = [*folds(Rows(X, y), 10, "classification", labels=[*"abcd"])]
    assert len(parts) == 10
    assert sorted(np.concatenate([test for _, test in parts])) == [*range(60)]
    assert all((y[train] == 2).any() for train, _ in parts)
    with pytest.warns(UserWarning, match="2 \\(2\\), 3 \\(1\\)"):
        assert len([*folds(Rows(X, y), 40, "classification")]) == 30  # the rows of the largest class
    assert len([*folds(Rows(X, VALUES), 100, "regression")]) == 60
