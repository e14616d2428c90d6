"""What combiners combine, by which weights, and whom they can do without."""

import numpy as np
import pytest
from combine.guesses import guesses
from sklearn.base import clone

from skfusion.combine import (
    Average,
    Calibrated,
    DynamicSelection,
    DynamicWeighting,
    EnsembleSelection,
    GeometricAverage,
    Median,
    Stack,
    Vote,
    WeightedAverage,
)

TASKS = ["classification", "multilabel", "regression"]
MEANS = {
    "average": Average(),
    "average-given": Average([1, 0, 2, 0, 1]),
    "weighted": WeightedAverage(),
    "selection": EnsembleSelection(),
    "selection-two": EnsembleSelection(max_members=2),
    "selection-bags": EnsembleSelection(n_bags=5, bag_fraction=0.6, max_members=3),
    "calibrated": Calibrated(),
    "calibrated-weighted": Calibrated(WeightedAverage()),
    "calibrated-selection": Calibrated(EnsembleSelection(max_members=2)),
}
OTHERS = {
    "calibrated-ensemble": Calibrated(WeightedAverage(), of="ensemble"),
    "geometric": GeometricAverage([1, 2, 0, 0, 3]),
    "vote": Vote([1, 2, 0, 0, 3]),
    "median": Median(),
    "stack": Stack(),
    "nearest": DynamicSelection(),
    "near": DynamicWeighting(),
}
LEARNED = ["weighted", "selection-two", "selection-bags", "calibrated-weighted", "calibrated-selection"]


def pairs(names):
    """Names of combiners, each with the tasks that it takes."""
    probabilities = ("calibrated", "geometric", "vote")
    return [(n, task) for n in names for task in TASKS if task != "regression" or not n.startswith(probabilities)]


def fitted(combiner, task):
    P, y = guesses(task, 5, n=80)
    return clone(combiner).fit(P, y, task), P


@pytest.mark.parametrize(("name", "task"), pairs([*MEANS, *OTHERS]))
def test_members_that_are_left_predict_what_all_predicted(name, task):
    combiner, P = fitted({**MEANS, **OTHERS}[name], task)
    before, (_, weights) = combiner(P), combiner.weighed(P)
    kept = combiner.narrow(len(P))
    assert np.array_equal(combiner(P[kept]), before)
    learned = name in LEARNED or name in ("selection", "calibrated-ensemble")
    assert kept.tolist() == (np.flatnonzero(weights) if learned else np.arange(5)).tolist()
    again, shares = combiner.weighed(P[kept])
    assert len(again) == len(shares) == len(kept)


@pytest.mark.parametrize("name", LEARNED)
def test_some_members_are_left_out_indeed(name):
    combiner, P = fitted(MEANS[name], "classification")
    assert len(combiner.narrow(len(P))) < len(P)
    with pytest.raises(ValueError, match="and is given 5"):
        combiner(P)


@pytest.mark.parametrize(("name", "task"), pairs(MEANS))
def test_means_are_those_of_the_members_by_their_weights(name, task):
    combiner, P = fitted(MEANS[name], task)
    members, weights = combiner.weighed(P)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert np.allclose(np.tensordot(weights, members, axes=1), combiner(P), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_others_have_weights_too(name):
    combiner, P = fitted(OTHERS[name], "classification")
    members, weights = combiner.weighed(P)
    assert members.shape == P.shape
    given = np.array([1, 2, 0, 0, 3]) / 6 if name in ("geometric", "vote") else np.full(5, 0.2)
    expected = combiner.combine_.weights_ if name == "calibrated-ensemble" else given
    assert np.allclose(weights, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", [Average, GeometricAverage, Vote])
def test_weights_are_counted_in_fit(kind):
    P, y = guesses("classification", 5)
    with pytest.raises(ValueError, match="2 weights for 5 members"):
        kind([1, 2]).fit(P, y, "classification")
    with pytest.raises(ValueError, match="not all zero"):
        kind([0, 0]).check("classification")
