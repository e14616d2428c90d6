"""Greedy merging of the most similar units."""

import numpy as np
import pytest
from reference.zipit import match

from skfusion.merge.matching._zip import merge_and_unmerge, zipped


def correlated(n, seed):
    """Return the correlations of n units, all of which are positive."""
    rng = np.random.RandomState(seed)
    values = rng.normal(size=(200, n)) + 2 * rng.normal(size=(200, 1))
    return np.corrcoef(values, rowvar=False)


def halves(n):
    return np.repeat([0, 1], n // 2)


def partition(cluster):
    return {frozenset(np.flatnonzero(cluster == c).tolist()) for c in np.unique(cluster)}


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("ratio", [0.25, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_those_of_the_papers_code(alpha, ratio, seed):
    n = 24
    similarity = correlated(n, seed)
    cluster = zipped(similarity, halves(n), int(n * (1 - ratio)), alpha, 1.0)
    expected = match(similarity, ratio, alpha, 2.0)  # more than there are merges
    assert partition(cluster) == {frozenset(np.flatnonzero(column).tolist()) for column in expected.T}


@pytest.mark.parametrize("budget", [0.0, 0.2, 0.5])
def test_no_more_units_of_one_network_are_merged_than_the_budget_says(budget):
    """Units of one network are near each other, and those of the other one are far away."""
    n = 20
    similarity = correlated(n, 0) * np.where(halves(n)[:, None] == halves(n), 1.0, 0.01)
    cluster = zipped(similarity, halves(n), n // 2, 0.3, budget)
    alone = [c for c in partition(cluster) if len({i < n // 2 for i in c}) == 1]
    within = sum(len(c) - 1 for c in alone)
    assert within <= 2 * int(budget * 5 + 1e-9)
    assert (within == 0) == (budget == 0.0)


def test_a_network_of_more_units_than_are_left_merges_within_itself():
    owner = np.repeat([0, 1], [4, 12])
    cluster = zipped(correlated(16, 1), owner, 4, 0.3, 0.0)
    assert len(np.unique(cluster)) == 4


def test_equal_networks_pair_each_unit_with_its_twins():
    for k in (2, 3):
        values = np.tile(np.random.RandomState(0).normal(size=(50, 7)) + 5, k)
        cluster = zipped(np.corrcoef(values, rowvar=False), np.repeat(np.arange(k), 7), 7, 0.3, 0.125)
        assert cluster.tolist() == [*range(7)] * k


def test_negative_similarities_do_not_become_less_so():
    similarity = np.array([[1, -0.2, -0.5, -0.6], [-0.2, 1, -0.4, -0.7], [-0.5, -0.4, 1, -0.3], [-0.6, -0.7, -0.3, 1]])
    cluster = zipped(similarity, np.array([0, 1, 0, 1]), 2, 0.1, 1.0)
    assert cluster.tolist() == [0, 0, 1, 1]


def test_what_cannot_be_merged_any_more_is_refused():
    with pytest.raises(ValueError, match=r"8 are left where 4 should be: alpha=0.0 and budget=0.0 forbid it"):
        zipped(correlated(16, 0), halves(16), 4, 0.0, 0.0)


def test_merging_and_reading_are_those_of_the_clusters():
    cluster = np.array([0, 1, 2, 1, 0, 0])
    (made_a, read_a), (made_b, read_b) = merge_and_unmerge(cluster, [4, 2])
    np.testing.assert_allclose(made_a, [[1 / 3, 0, 0, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0]])
    np.testing.assert_allclose(made_b, [[1 / 3, 1 / 3], [0, 0], [0, 0]])
    np.testing.assert_allclose(np.concatenate([made_a, made_b], 1).sum(1), 1)
    np.testing.assert_array_equal(read_a, np.eye(3)[[0, 1, 2, 1]])
    np.testing.assert_array_equal(read_b, np.eye(3)[[0, 0]])
