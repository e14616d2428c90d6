"""Weights of classes: scikit-learn's, scaled to a mean of one over the rows, and what does not name a class."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from skfusion._rows import Rows
from skfusion.data import class_weights

LABELS = np.array(["a", "b", "c"])
CODES = np.repeat([0, 1, 2], [12, 6, 2])
WEIGHT = np.random.RandomState(0).uniform(0.5, 3, size=20)


def rows(weight=None, codes=CODES):
    return Rows(np.zeros((len(codes), 1)), codes, weight, task="classification")


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_balanced_is_scikit_learns_and_makes_classes_count_alike(weight):
    by_class = class_weights("balanced", rows(weight), LABELS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=CODES, sample_weight=weight)
    np.testing.assert_allclose(by_class, expected)
    total = np.bincount(CODES, by_class[CODES] * (1 if weight is None else weight))
    np.testing.assert_allclose(total, total[0])


def test_only_ratios_of_a_dict_matter_and_labels_without_a_weight_have_one():
    by_class = class_weights({"c": 5.0}, rows(WEIGHT), LABELS)
    np.testing.assert_allclose(by_class / by_class[0], [1, 1, 5])
    np.testing.assert_allclose(np.average(by_class[CODES], weights=WEIGHT), 1)
    np.testing.assert_allclose(class_weights({"a": 3, "b": 3, "c": 15}, rows(WEIGHT), LABELS), by_class)


@pytest.mark.parametrize("given", ["balanced", {"a": 1, "b": 1, "c": 4}], ids=str)
def test_whole_weights_are_repetitions(given):
    times = np.arange(20) % 3 + 1
    weighted, repeated = rows(times.astype(float)), rows(codes=np.repeat(CODES, times))
    assert class_weights(given, weighted, LABELS).tolist() == class_weights(given, repeated, LABELS).tolist()


def test_classes_without_rows_change_no_other_weight():
    some = class_weights("balanced", rows(), LABELS)
    more = class_weights("balanced", rows(), np.array([*"abcd"]))
    np.testing.assert_array_equal(more[:3], some)
    assert more[3] > 0


@pytest.mark.parametrize("given", [None, {}, {"a": 2, "b": 2, "c": 2}], ids=str)
def test_equal_weights_are_none(given):
    assert class_weights(given, rows(), LABELS) is None
    assert class_weights("balanced", rows(codes=np.repeat([0, 1, 2], 7)), LABELS) is None


def test_labels_that_a_fold_lacks_are_passed_over_where_every_class_is_named():
    known = class_weights({"a": 1, "b": 2, "c": 4}, rows(), LABELS)
    assert class_weights({"a": 1, "b": 2, "c": 4, "d": 9}, rows(), LABELS).tolist() == known.tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": 2, "z": 3}, r"labels that y does not have: \['z'\]; its classes are \['a', 'b', 'c'\]"),
        ({"a": 0}, r"positive and finite, and is not for \['a'\]"),
        ({"b": np.nan}, r"is not for \['b'\]"),
        ({"b": "much"}, "a number for each label"),
        ("even", "must be None, 'balanced' or a dict"),
        ([1, 2, 3], "must be None, 'balanced' or a dict"),
    ],
    ids=str,
)
def test_what_names_no_weights_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        class_weights(given, rows(), LABELS)


def test_labels_that_do_not_exclude_each_other_are_refused_with_the_remedy():
    several = Rows(np.zeros((4, 1)), np.eye(4, 2, dtype=int), task="multilabel")
    with pytest.raises(ValueError, match="'balanced' is for classes that exclude.*pos_weight"):
        class_weights("balanced", several, np.arange(2))


def test_weights_of_rows_in_losses():
    by_class = np.array([1.0, 2.0, 4.0])
    assert rows().loss_weight is None
    assert Rows(np.zeros((20, 1)), CODES, class_weight=by_class).loss_weight.tolist() == by_class[CODES].tolist()
    some = Rows(np.zeros((20, 1)), CODES, WEIGHT, class_weight=by_class).take(np.arange(5, 20))
    assert some.loss_weight.tolist() == (WEIGHT * by_class[CODES])[5:].tolist()
