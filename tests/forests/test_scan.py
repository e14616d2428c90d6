"""Multi-grained scanning: patches, their class vectors, pooling, and cross-fitting."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold

from skfusion._rows import Rows
from skfusion.data import Original, crossfit_folds
from skfusion.forests import MultiGrainedScan

SMALL = {"n_trees": 3, "min_samples_leaf": 1, "cv": 2, "random_state": 0}


def images(n=20, shape=(5, 6), seed=0):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, *shape)).astype(np.float32)
    return X, (X.reshape(n, -1)[:, :10].mean(axis=1) > 0).astype(int)


def test_patches_are_cut_as_loops_would():
    X, y = images()
    scan = MultiGrainedScan([(2, 3)], stride=2, **SMALL).fit(X, y)
    found, grid = scan._patches(X, (2, 3))
    assert grid == (2, 2)
    wanted = [x[i : i + 2, j : j + 3].ravel() for x in X for i in (0, 2) for j in (0, 2)]
    np.testing.assert_array_equal(found, wanted)


def test_features_are_the_class_vectors_of_every_place():
    X, y = images()
    scan = MultiGrainedScan([3], **SMALL).fit(X, y)
    assert scan.windows_ == [(3, 3)]
    assert scan.grid_ == [(3, 4)]
    found = scan.transform(X)
    assert found.shape == (20, 2 * 2 * 12)
    for f, forest in enumerate(scan.forests_[0]):
        for place, (i, j) in enumerate((i, j) for i in range(3) for j in range(4)):
            wanted = forest.predict_proba(X[:, i : i + 3, j : j + 3].reshape(20, -1))
            at = (f * 12 + place) * 2
            np.testing.assert_allclose(found[:, at : at + 2], wanted, rtol=1e-6)


def test_pooling_averages_blocks_and_ragged_ends():
    X, y = images()
    plain = MultiGrainedScan([3], **SMALL).fit(X, y).transform(X).reshape(20, 2, 3, 4, 2)
    pooled = MultiGrainedScan([3], pool=2, **SMALL).fit(X, y).transform(X).reshape(20, 2, 2, 2, 2)
    np.testing.assert_allclose(pooled[:, :, 0, 0], plain[:, :, :2, :2].mean(axis=(2, 3)), rtol=1e-6)
    np.testing.assert_allclose(pooled[:, :, 1, 1], plain[:, :, 2:, 2:].mean(axis=(2, 3)), rtol=1e-6)


def test_training_samples_are_described_by_forests_that_did_not_see_them():
    X, y = images(n=30)
    scan = MultiGrainedScan([4], **SMALL)
    found = scan.fit_transform(X, y)
    rng = np.random.RandomState(0)
    folds = crossfit_folds(Rows(X, y), 2, "classification", int(rng.randint(np.iinfo(np.int32).max)), Original(X, y))
    seeds = rng.randint(np.iinfo(np.int32).max, size=(2, 3))
    cut = [[x[i : i + 4, j : j + 4].ravel() for i in (0, 1) for j in (0, 1, 2)] for x in X]
    patches = np.array(cut)  # shape: (n_samples, 6 places, 16)
    for f in range(2):
        for (train, test), seed in zip(folds, seeds[f, 1:], strict=True):
            forest = clone(scan.forests_[0][f]).set_params(random_state=int(seed))
            forest.fit(patches[train].reshape(-1, 16), y[train].repeat(6))
            wanted = forest.predict_proba(patches[test].reshape(-1, 16)).reshape(len(test), -1)
            np.testing.assert_allclose(found[test, f * 12 : (f + 1) * 12], wanted, rtol=1e-6)


def test_a_sequence_channels_and_shares():
    X, y = images(shape=(16,))
    assert MultiGrainedScan((0.25, 0.5), **SMALL).fit(X, y).windows_ == [(4,), (8,)]
    X, y = images(shape=(3, 6, 6))
    scan = MultiGrainedScan([2, (1, 3, 3)], **SMALL).fit(X, y)
    assert scan.windows_ == [(3, 2, 2), (1, 3, 3)]
    assert scan.grid_ == [(1, 5, 5), (3, 4, 4)]
    X, y = images(shape=(12,))
    scan = MultiGrainedScan([2], shape=(3, 4), **SMALL).fit(X, y)
    np.testing.assert_array_equal(
        scan.transform(X), MultiGrainedScan([2], **SMALL).fit(X.reshape(-1, 3, 4), y).transform(X.reshape(-1, 3, 4))
    )


@pytest.mark.parametrize(
    ("windows", "found"),
    [
        (3, [(3, 3)]),
        (np.int64(3), [(3, 3)]),
        (np.array([2, 3]), [(2, 2), (3, 3)]),
        ([np.array([2, 3])], [(2, 3)]),
        (0.5, [(2, 3)]),
        (np.float32(0.5), [(2, 3)]),
        (1.0, [(5, 6)]),
        ([1, (1, 1.0)], [(1, 1), (1, 6)]),
        (0.01, [(1, 1)]),
    ],
    ids=["int", "numpy-int", "array", "array-of-a-window", "share", "numpy-share", "whole", "one", "little"],
)
def test_ints_are_entries_and_floats_are_shares(windows, found):
    X, y = images()
    scan = MultiGrainedScan(windows, **SMALL).fit(X, y)
    assert scan.windows_ == found
    assert all(type(n) is int for window in scan.windows_ for n in window)


def test_features_have_names():
    X, y = images()
    scan = MultiGrainedScan([3, 5], **SMALL).fit(X, y)
    names = scan.get_feature_names_out()
    assert len(names) == len(set(names)) == sum(scan.n_features_out_) == 2 * 2 * (12 + 2)
    assert names[-1] == "multigrainedscan55"
    pandas = pytest.importorskip("pandas")
    plain = clone(scan).fit_transform(X, y, sample_weight=np.arange(20) % 3)
    framed = clone(scan).set_output(transform="pandas")
    found = framed.fit_transform(X, y, sample_weight=np.arange(20) % 3)
    assert isinstance(found, pandas.DataFrame)
    assert found.columns.tolist() == framed.transform(X).columns.tolist() == names.tolist()
    np.testing.assert_array_equal(found, plain)


def test_a_splitter_splits_the_samples_that_fit_was_given():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(60, 8, 8)), rng.randint(2, size=60)  # tossed labels
    cv, weight = KFold(3, shuffle=True, random_state=0), np.arange(60) % 3
    scan = MultiGrainedScan((8,), n_trees=20, min_samples_leaf=1, max_depth=None, cv=cv, random_state=0)
    doubled = scan.fit_transform(X, y, sample_weight=np.full(60, 2))
    assert abs(((doubled[:, 1] > 0.5) == y).mean() - 0.5) < 3 * np.sqrt(0.25 / 60)
    listed = clone(scan).set_params(cv=list(cv.split(X)))
    np.testing.assert_array_equal(scan.fit_transform(X, y, weight), listed.fit_transform(X, y, weight))


def test_values_are_scanned_too():
    X, _ = images(n=30)
    y = np.stack([X[:, 0, 0], X[:, 1, 1]], axis=1)
    assert MultiGrainedScan([3], **SMALL).fit_transform(X, y).shape == (30, 2 * 12 * 2)


def test_weights_are_repetitions_and_features_keep_their_rows():
    X, y = images(n=24)
    weight = np.arange(24) % 3
    scan = MultiGrainedScan([3], **SMALL)
    weighted = scan.fit_transform(X, y, sample_weight=weight)
    repeated = clone(scan).fit_transform(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_array_equal(weighted.repeat(weight, axis=0), repeated)
    np.testing.assert_array_equal(weighted[weight == 0], scan.transform(X)[weight == 0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"windows": [7]}, r"The window 7 does not fit samples of shape \(5, 6\)"),
        ({"windows": [(2, 2, 2)]}, "has 3 axes"),
        ({"windows": [2.5]}, "does not fit"),
        ({"windows": []}, "windows is empty"),
        ({"stride": 0}, "stride must be a whole number"),
        ({"pool": 1.5}, "pool must be a whole number"),
        ({"shape": (4, 4)}, r"shape=\(4, 4\) has 16 numbers, but a sample of X has 30"),
        ({"shape": (5, -1)}, r"shape must hold whole numbers of at least 1, such as \(8, 8\); got \(5, -1\)"),
        ({"shape": (5, 6.0)}, r"shape must hold whole numbers of at least 1, such as \(8, 8\); got \(5, 6.0\)"),
        ({"windows": [2.0]}, "a float, which is a share of it, above 0 and at most 1.0"),
        ({"windows": [0]}, "an int from 1 to its length"),
        ({"windows": [True]}, "The window True does not fit"),
        ({"windows": ["3"]}, "The window '3' does not fit"),
    ],
    ids=[
        "wide",
        "axes",
        "fraction",
        "none",
        "stride",
        "pool",
        "shape",
        "shape-unknown",
        "shape-float",
        "float",
        "zero",
        "bool",
        "text",
    ],
)
def test_what_does_not_fit_is_named(params, message):
    X, y = images()
    with pytest.raises(ValueError, match=message):
        MultiGrainedScan(**{"windows": [3], **SMALL, **params}).fit(X, y)


def test_channels_come_first():
    X, y = images(shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"samples of shape \(8, 8, 3\).*come as \(channels, height, width\)"):
        MultiGrainedScan([4], **SMALL).fit(X, y)
