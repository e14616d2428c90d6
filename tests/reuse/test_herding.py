"""Kernel herding: how fast its mean converges, and what it may choose."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skfusion.reuse import Specification, herd


@pytest.fixture(scope="module")
def spec():
    return Specification(15, 0.1).fit(np.random.RandomState(0).normal(size=(300, 3)))


def test_the_mean_converges_as_fast_as_one_over_the_number(spec):
    numbers = np.array([20, 40, 80, 160, 320, 640])
    distances = np.array([spec.mmd(herd(spec, int(n))) for n in numbers])
    slope = np.polyfit(np.log(numbers), np.log(distances), 1)[0]
    assert slope < -0.85  # independent draws have -0.5
    assert (numbers * distances).max() < 3 * (numbers * distances)[0]


def test_counts_approach_the_weights(spec):
    herded = herd(spec, 3000)
    counts = (herded[:, None] == spec.points_).all(axis=2).sum(axis=0)
    assert counts.sum() == 3000
    assert np.allclose(counts / 3000, spec.weights_, atol=0.01)


def test_each_choice_is_the_best_one(spec):
    """As the formula says, by loops."""
    chosen = []
    for t in range(12):
        values = []
        for x in spec.points_:
            mean = sum(
                w * np.exp(-0.1 * ((x - z) ** 2).sum()) for w, z in zip(spec.weights_, spec.points_, strict=True)
            )
            values.append((t + 1) * mean - sum(np.exp(-0.1 * ((x - s) ** 2).sum()) for s in chosen))
        chosen.append(spec.points_[int(np.argmax(values))])
    assert np.array_equal(herd(spec, 12), np.array(chosen))


def test_rows_of_ones_own_may_be_chosen_from():
    X = load_digits().data / 16
    spec = Specification(20).fit(X[:500])
    candidates = X[500:900]
    herded = herd(spec, 100, candidates)
    assert {tuple(x) for x in herded} <= {tuple(x) for x in candidates}
    assert spec.mmd(herded) < spec.mmd(candidates[:100])


def test_none_at_all_is_refused(spec):
    with pytest.raises(ValueError, match="n_samples must be at least 1"):
        herd(spec, 0)
