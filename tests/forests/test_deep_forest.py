"""Deep forests: what a level reads and says, when the cascade stops, and that nothing leaks."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit, ShuffleSplit

from skfusion import DeepForestClassifier, DeepForestRegressor
from skfusion._rows import Rows
from skfusion.data import Original, crossfit_folds
from skfusion.forests import MultiGrainedScan
from skfusion.forests._layer import fit_crossfitted, kinds

SMALL = {"n_trees": 8, "cv": 3, "random_state": 0}


def classes(n=240, n_classes=3, seed=0):
    return make_classification(n, 8, n_informative=5, n_classes=n_classes, random_state=seed)


def deep(**params):
    return DeepForestClassifier(**{**SMALL, "max_levels": 3, "tolerance": 3, "delta": -1.0, **params})


def test_class_vectors_are_distributions_and_cross_fitted():
    X, y = classes()
    rows = Rows(X.astype(np.float32), y)
    folds = crossfit_folds(rows, 3, "classification", 0, Original(X, y))
    forests = kinds("classification", 2, 8, "sqrt")
    fitted, vectors = fit_crossfitted(forests, rows.X, rows, folds, 3, np.random.RandomState(0), None)
    assert vectors.shape == (4, 240, 3)
    assert (vectors >= 0).all()
    np.testing.assert_allclose(vectors.sum(axis=2), 1, rtol=1e-12)
    seeds = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=(4, 4))
    for f, forest in enumerate(forests):  # written out: each row by a forest that was fitted without its fold
        for (train, test), seed in zip(folds, seeds[f, 1:], strict=True):
            again = clone(forest).set_params(random_state=int(seed)).fit(rows.X[train], y[train])
            np.testing.assert_array_equal(vectors[f, test], again.predict_proba(rows.X[test]))
        again = clone(forest).set_params(random_state=int(seeds[f, 0])).fit(rows.X, y)
        np.testing.assert_array_equal(fitted[f].predict_proba(rows.X), again.predict_proba(rows.X))


def test_a_level_reads_the_inputs_and_the_class_vectors():
    X, y = classes()
    forest = deep(n_forests=3, delta=-1.0).fit(X, y)
    assert forest.n_levels_ == 3
    assert [len(level) for level in forest.levels_] == [6, 6, 6]
    assert [level[0].n_features_in_ for level in forest.levels_] == [8, 8 + 6 * 3, 8 + 6 * 3]


def test_the_two_kinds_of_forest():
    X, y = classes()
    random, complete = deep(n_forests=1, max_levels=1).fit(X, y).levels_[0]
    assert isinstance(random, RandomForestClassifier)
    assert isinstance(complete, ExtraTreesClassifier)
    assert random.max_features == "sqrt"
    assert complete.max_features == 1
    assert len(random.estimators_) == len(complete.estimators_) == 8


def test_one_level_is_the_mean_of_its_forests():
    X, y = classes()
    forest = deep(max_levels=1).fit(X, y)
    X32 = X.astype(np.float32)
    again = [clone(part).fit(X32, y).predict_proba(X32) for part in forest.levels_[0]]
    np.testing.assert_allclose(forest.predict_proba(X), np.mean(again, axis=0), rtol=1e-12)


def test_two_levels_written_out():
    X, y = classes()
    forest = deep(max_levels=2).fit(X, y)
    first = [part.predict_proba(X.astype(np.float32)) for part in forest.levels_[0]]
    features = np.hstack([X, *first]).astype(np.float32)
    second = np.mean([part.predict_proba(features) for part in forest.levels_[1]], axis=0)
    np.testing.assert_allclose(forest.predict_proba(X), second, rtol=1e-12)
    staged = list(forest.staged_predict_proba(X))
    np.testing.assert_allclose(staged[0], np.mean(first, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(staged[1], forest.predict_proba(X))


def test_it_stops_after_the_tolerance_and_keeps_the_best_level():
    X, y = classes(n=300, n_classes=2)
    forest = DeepForestClassifier(**SMALL, tolerance=2).fit(X, y)
    scores = forest.level_scores_
    best = int(np.argmax(scores))  # the first of equals
    assert forest.n_levels_ == len(forest.levels_) == best + 1
    assert len(scores) == best + 3
    assert (scores[best + 1 :] <= scores[best] + 1e-5).all()
    few = DeepForestClassifier(**SMALL, max_levels=1).fit(X, y)
    np.testing.assert_array_equal(few.level_scores_, scores[:1])  # the same first level


def test_delta_says_what_counts_as_better():
    X, y = classes(n=300, n_classes=2)
    forest = DeepForestClassifier(**SMALL, tolerance=1, delta=0.9).fit(X, y)
    assert forest.n_levels_ == 1
    assert len(forest.level_scores_) == 2


def test_tossed_labels_score_as_chance_would():
    found = []
    for seed in range(6):
        rng = np.random.RandomState(seed)
        X, y = rng.normal(size=(500, 6)), rng.randint(2, size=500)
        found.append(deep(n_trees=20).fit(X, y).level_scores_)
    first, *later = np.mean(found, axis=0)
    assert abs(first - 0.5) < 3 * np.sqrt(0.25 / 3000)  # 3 standard deviations of a share of 3000 tosses
    # Vectors of other rows knew a row's label, so later levels may score a few points above chance, as Notes say.
    assert max(later) < 0.55
    assert RandomForestClassifier(20, random_state=0).fit(X, y).score(X, y) > 0.95  # what it would be without folds


def test_it_beats_chance_where_there_is_something_to_learn():
    X, y = load_digits(n_class=5, return_X_y=True)
    forest = DeepForestClassifier(**SMALL, max_levels=2).fit(X[::2], y[::2])
    assert forest.score(X[1::2], y[1::2]) > 0.95


def test_the_same_seed_gives_the_same_forest_for_any_number_of_jobs():
    X, y = classes()
    one, two, again = (deep(n_jobs=n).fit(X, y) for n in (1, 2, 1))
    np.testing.assert_array_equal(one.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    np.testing.assert_array_equal(one.level_scores_, two.level_scores_)
    assert (deep(random_state=1).fit(X, y).predict_proba(X) != one.predict_proba(X)).any()


def test_the_global_generator_is_left_alone():
    X, y = classes(n=60)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    deep(n_trees=2, max_levels=1).fit(X, y)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_whole_weights_are_repetitions():
    X, y = classes(n=90)
    weight = np.random.RandomState(0).randint(0, 4, size=90)
    order = np.random.RandomState(1).permutation(weight.sum())
    weighted = deep().fit(X, y, sample_weight=weight)
    repeated = deep().fit(X.repeat(weight, axis=0)[order], y.repeat(weight)[order])
    np.testing.assert_array_equal(weighted.predict_proba(X), repeated.predict_proba(X))
    np.testing.assert_array_equal(weighted.level_scores_, repeated.level_scores_)
    assert (weighted.predict_proba(X) != deep().fit(X, y).predict_proba(X)).any()


def test_fractional_weights_count():
    rng = np.random.RandomState(0)
    X, fresh, y = rng.normal(size=(300, 3)), rng.normal(size=(300, 3)), rng.randint(2, size=300)
    weight = np.where(y == 1, 4.5, 0.5)  # nothing to learn but that class 1 has nine tenths of the weight
    shallow = deep(n_trees=20, max_depth=2, max_levels=1)
    assert abs(shallow.fit(X, y, sample_weight=weight).predict_proba(fresh)[:, 1].mean() - 0.9) < 0.05
    assert abs(shallow.fit(X, y).predict_proba(fresh)[:, 1].mean() - 0.5) < 0.05


def test_noisy_labels_of_equal_inputs_do_not_turn_a_cascade_around():
    rng = np.random.RandomState(0)
    A = rng.randint(2, size=(400, 1)).astype(float)
    b = (rng.uniform(size=400) < np.where(A[:, 0] > 0, 0.75, 0.25)).astype(int)
    forest = DeepForestClassifier(n_trees=5, cv=5, max_levels=2, random_state=0).fit(A, b)
    assert forest.level_scores_[0] > 0.7
    assert forest.score(A, b) > 0.7


def test_repetitions_of_a_row_stay_in_one_fold():
    X, y = classes(n=60)
    rows = Rows(np.repeat(X, 2, axis=0).astype(np.float32), np.repeat(y, 2))
    folds = crossfit_folds(rows, 5, "classification", 0, Original(rows.X, rows.y))
    assert len(folds) == 5
    for train, test in folds:
        assert not np.isin(rows.keys[test], rows.keys[train]).any()
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(120))


def test_rows_of_a_group_stay_in_one_fold():
    X, y = classes(n=120)
    rows = Rows(X.astype(np.float32), y, groups=np.arange(120) // 6)
    for train, test in crossfit_folds(rows, 4, "classification", 0, Original(X, y, rows.groups)):
        assert not np.isin(rows.groups[test], rows.groups[train]).any()


def test_groups_keep_a_leak_out_of_the_score():
    rng = np.random.RandomState(0)  # 10 near copies of each of 30 points, whose labels are tossed
    X = np.repeat(rng.normal(size=(30, 4)), 10, axis=0) + 0.01 * rng.normal(size=(300, 4))
    y, groups = np.repeat(rng.randint(2, size=30), 10), np.repeat(np.arange(30), 10)
    assert deep(max_levels=1).fit(X, y).level_scores_[0] > 0.95
    assert deep(max_levels=1).fit(X, y, groups=groups).level_scores_[0] < 0.8


def test_folds_are_stratified_and_a_rare_class_is_no_obstacle():
    X, y = classes(n=100, n_classes=2)
    folds = crossfit_folds(Rows(X, y), 5, "classification", 0, Original(X, y))
    assert {int(y[test].sum()) for _, test in folds} <= {int(y.sum()) // 5, int(y.sum()) // 5 + 1}
    y = np.r_[y[:-1], 7]
    forest = deep().fit(X, y)
    assert forest.classes_.tolist() == [0, 1, 7]
    np.testing.assert_allclose(forest.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("cv", [KFold(4), list(KFold(4).split(np.zeros(90)))], ids=["splitter", "positions"])
def test_other_folds(cv):
    X, y = classes(n=90)
    own = [test for _, test in crossfit_folds(Rows(X, y), cv, "classification", 0, Original(X, y))]
    np.testing.assert_array_equal(np.concatenate(own), np.arange(90))
    assert deep(cv=cv).fit(X, y).n_levels_ == 3


def test_positions_count_the_rows_that_fit_was_given():
    X, y = classes(n=90)
    weight = np.ones(90)
    weight[:30] = 0
    halves = [(np.arange(45, 90), np.arange(45)), (np.arange(45), np.arange(45, 90))]
    kept = [(np.arange(15, 60), np.arange(15)), (np.arange(15), np.arange(15, 60))]
    a = deep(cv=halves).fit(X, y, sample_weight=weight)
    b = deep(cv=kept).fit(X[30:], y[30:])
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


@pytest.mark.parametrize(
    "cv", [5, KFold(5, shuffle=True, random_state=0), KFold(5)], ids=["number", "drawn", "ordered"]
)
def test_repetitions_by_weight_are_in_the_fold_of_their_row(cv):
    rng = np.random.RandomState(0)
    X, y, found = rng.normal(size=(200, 5)), rng.randint(2, size=200), np.full(200, 2)
    scores = deep(cv=cv, n_trees=20, max_levels=1).fit(X, y, sample_weight=found).level_scores_
    assert abs(scores[0] - 0.5) < 3 * np.sqrt(0.25 / 200)  # 3 standard deviations of a share of 200 tosses
    values = DeepForestRegressor(**SMALL | {"cv": cv}, max_levels=1).fit(X, rng.normal(size=200), sample_weight=found)
    assert values.level_scores_[0] < 0.05


def blocks(seed=0):
    """Ten places far from each other, of 20 rows each, whose label is that of the place, tossed."""
    rng = np.random.RandomState(seed)
    at = np.repeat(np.arange(10), 20)
    return rng.normal(size=(200, 5)) + 10 * rng.normal(size=(10, 5))[at], rng.randint(2, size=10)[at], at


@pytest.mark.parametrize("case", ["plain", "equal-rows", "weight-zero", "weights"])
def test_a_splitter_splits_the_rows_that_fit_was_given(case):
    X, y, at = blocks()
    weight = None
    if case == "equal-rows":
        X[1] = X[0]  # now the rows are fitted on in another order
    if case.startswith("weight"):
        weight = np.ones(200)
        weight[:5] = 0 if case == "weight-zero" else 2.0
    cv = PredefinedSplit(at)
    one, other = (deep(cv=c, max_levels=2).fit(X, y, sample_weight=weight) for c in (cv, list(cv.split())))
    np.testing.assert_array_equal(one.level_scores_, other.level_scores_)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_splitter_sees_what_fit_was_given():
    X, y, at = blocks()
    y, seen = np.array(["a", "b"])[y], []

    class Spy(KFold):
        def split(self, X, y=None, groups=None):
            seen.append((X, y, groups))
            return super().split(X)

    scan = MultiGrainedScan((2,), n_trees=2, cv=Spy(2))
    deep(cv=Spy(3), scan=scan, max_levels=1).fit(X, y, sample_weight=at % 3, groups=at)
    assert len(seen) == 2
    for own in seen:
        assert own[0] is X
        assert own[1] is y
        assert own[2] is at


def test_a_fold_of_weight_zero_is_left_out():
    X, y, at = blocks()
    weight = (at > 0).astype(float)
    one = deep(cv=PredefinedSplit(at), max_levels=1).fit(X, y, sample_weight=weight)
    other = deep(cv=PredefinedSplit(at[20:]), max_levels=1).fit(X[20:], y[20:])
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    np.testing.assert_array_equal(one.level_scores_, other.level_scores_)


def test_regression_reads_the_values_of_the_level_before():
    X, y = load_diabetes(return_X_y=True)
    forest = DeepForestRegressor(**SMALL, max_levels=2, delta=-1.0, min_samples_leaf=3).fit(X, y)
    assert [level[0].n_features_in_ for level in forest.levels_] == [10, 14]
    first = [part.predict(X.astype(np.float32)) for part in forest.levels_[0]]
    features = np.hstack([X, np.transpose(first)]).astype(np.float32)
    np.testing.assert_allclose(forest.predict(X), np.mean([p.predict(features) for p in forest.levels_[1]], axis=0))
    assert forest.level_scores_[0] > 0.3
    assert [p.shape for p in forest.staged_predict(X)] == [(442,), (442,)]


def test_regression_of_several_targets():
    X, y = load_diabetes(return_X_y=True)
    both = np.stack([y, -2 * y], axis=1)
    forest = DeepForestRegressor(**SMALL, max_levels=2, delta=-1.0).fit(X, both)
    assert forest.predict(X).shape == (442, 2)
    assert forest.levels_[1][0].n_features_in_ == 10 + 4 * 2
    assert forest.score(X, both) > 0.7


def test_shuffled_targets_of_a_regression_explain_nothing():
    X, y = load_diabetes(return_X_y=True)
    forest = DeepForestRegressor(**SMALL, max_levels=2, delta=-1.0).fit(X, np.random.RandomState(0).permutation(y))
    assert (forest.level_scores_ < 0.05).all()


def test_missing_values_are_taken():
    X, y = classes()
    X[::7, 0] = np.nan
    assert deep().fit(X, y).predict_proba(X).shape == (240, 3)


def test_images_are_flattened_without_a_scan():
    X, y = load_digits(n_class=3, return_X_y=True)
    flat = deep(max_levels=1).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(
        deep(max_levels=1).fit(X.reshape(-1, 8, 8), y).predict_proba(X.reshape(-1, 8, 8)), flat
    )


def test_a_scan_feeds_its_grains_in_turn():
    X, y = load_digits(n_class=3, return_X_y=True)
    scan = MultiGrainedScan((4, 6), stride=2, shape=(8, 8), n_trees=4)
    forest = deep(scan=scan, max_levels=3).fit(X, y)
    a, b = forest.scan_.n_features_out_
    assert (a, b) == (2 * 3 * 9, 2 * 3 * 4)
    assert [level[0].n_features_in_ for level in forest.levels_] == [a, b + 4 * 3, a + 4 * 3]
    assert not hasattr(scan, "forests_")  # the user's own stays unfitted
    assert forest.score(X, y) > 0.98
    again = deep(scan=scan, max_levels=3, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(forest.predict_proba(X), again.predict_proba(X))


def test_a_scan_takes_the_jobs_of_the_forest():
    X, y = load_digits(n_class=2, return_X_y=True)
    for own, found in ((None, 2), (1, 1)):
        scan = MultiGrainedScan((4,), stride=4, shape=(8, 8), n_trees=2, n_jobs=own)
        assert deep(scan=scan, n_trees=2, max_levels=1, n_jobs=2).fit(X, y).scan_.n_jobs == found
        assert scan.n_jobs is own


def test_a_scan_does_not_leak_labels():
    X, _ = load_digits(n_class=2, return_X_y=True)
    y = np.random.RandomState(0).randint(2, size=len(X))
    scan = MultiGrainedScan((4,), stride=2, shape=(8, 8), n_trees=10, min_samples_leaf=1)
    score = deep(scan=scan, max_levels=1).fit(X, y).level_scores_[0]
    assert abs(score - 0.5) < 3 * np.sqrt(0.25 / len(X))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_trees": 0}, ValueError, "n_trees must be a whole number of at least 1; got 0"),
        ({"n_forests": 1.5}, ValueError, "n_forests must be a whole number"),
        ({"max_levels": 0}, ValueError, "max_levels must be a whole number of at least 1"),
        ({"tolerance": 0}, ValueError, "tolerance must be a whole number of at least 1"),
        ({"cv": 1}, ValueError, "cv must be at least 2"),
        ({"cv": "five"}, ValueError, "cv must be a number of folds, a splitter or an iterable"),
        ({"cv": ShuffleSplit(2, random_state=0)}, ValueError, r"cv=ShuffleSplit.*cross-fitting needs a partition"),
        ({"cv": []}, ValueError, "The folds of cv test 40 of 40 rows not once"),
        ({"cv": [([], np.arange(40))]}, ValueError, r"The folds \[0\] of cv have no rows to fit on"),
        ({"scan": MultiGrainedScan}, TypeError, r"Write MultiGrainedScan\(\)"),
    ],
    ids=[
        "trees",
        "forests",
        "levels",
        "tolerance",
        "folds",
        "text",
        "no-partition",
        "no-folds",
        "no-training",
        "scan-class",
    ],
)
def test_wrong_parameters_are_named(params, error, message):
    X, y = classes(n=40)
    with pytest.raises(error, match=message):
        deep(**params).fit(X, y)


def test_wrong_data_is_named():
    X, y = classes(n=40)
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        deep().fit(X, np.stack([y, y], axis=1) % 2)
    with pytest.raises(ValueError, match="groups has 3 entries for 40 rows"):
        deep().fit(X, y, groups=[0, 1, 2])
    with pytest.raises(ValueError, match="at least 2 groups; got 1"):
        deep().fit(X, y, groups=np.zeros(40))
    with pytest.raises(ValueError, match="at least 2 different rows"):
        deep().fit(np.ones((5, 2)), np.ones(5))
    with pytest.raises(ValueError, match="Negative values"):
        deep().fit(X, y, sample_weight=-np.ones(40))
    image = deep(max_levels=1).fit(X.reshape(40, 2, 4), y)
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but had shape \(2, 4\)"):
        image.predict(np.zeros((3, 2, 2)))


def test_inputs_by_name_are_refused():
    X, y = classes(n=40)
    for forest in (deep(), DeepForestRegressor(**SMALL), MultiGrainedScan((2,))):
        with pytest.raises(
            TypeError, match=r"a dict of the inputs \['a', 'b'\], but \w+ takes one array.*numpy.hstack"
        ):
            forest.fit({"b": X[:, :4], "a": X[:, 4:]}, y)


def test_group_splitters_get_the_groups():
    X, y = classes(n=60)
    groups = np.arange(60) // 3
    assert deep(cv=GroupKFold(3), max_levels=1).fit(X, y, groups=groups).n_levels_ == 1
