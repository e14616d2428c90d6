"""What points of a specification reveal: the guide says that few do little, and that many are almost training rows."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import pairwise_distances, roc_auc_score

from skfusion.reuse import Specification

X = load_digits().data / 16


def attack(n_points, n_rows=200):
    """The area under the ROC curve of guessing, by the distance from points, which rows were training rows."""
    order = np.random.RandomState(0).permutation(len(X))
    known, others = X[order[:n_rows]], X[order[n_rows : 2 * n_rows]]
    points = Specification(n_points).fit(known).points_
    near = np.concatenate([-pairwise_distances(rows, points).min(axis=1) for rows in (known, others)])
    return roc_auc_score(np.repeat([1, 0], n_rows), near)


def test_few_points_hardly_tell_who_was_a_training_row():
    assert attack(8) < 0.65


def test_many_points_tell_it_almost_surely():
    assert attack(133) > 0.9
    assert attack(None) > 0.999
