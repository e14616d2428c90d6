"""Laws of what finds models for a new task."""

from __future__ import annotations

import numpy as np

from skfusion.reuse import Search
from skfusion.testing import _reuse_problems as problems


def check_weights_are_on_the_simplex(search: Search) -> None:
    """What is found has weights of sum one, and a finite score wherever a model is chosen."""
    found = problems.found(search)
    assert (found.weights >= 0).all(), f"A weight is negative: {found.weights}."
    assert np.isclose(found.weights.sum(), 1), f"The weights have the sum {found.weights.sum():.6g}."
    assert np.isfinite(found.scores[found.weights > 0]).all(), "A model is chosen that has no score."


def check_order_of_the_pool_does_not_matter(search: Search) -> None:
    """A pool in another order gives the same weights and scores by name."""
    pool = problems.pool()
    ahead, back = problems.found(search, pool), problems.found(search, pool[::-1])
    assert np.allclose(ahead.weights, back.weights[::-1], atol=1e-5), "Weights depend on the order of the pool."
    assert np.allclose(ahead.scores, back.scores[::-1], equal_nan=True), "Scores depend on the order of the pool."


def check_labels_are_read_only_where_they_are_needed(search: Search) -> None:
    """A search that does not say that it needs labels does without them."""
    if not search.needs_labels:
        X, _ = problems.task()
        alone = search(problems.pool(), X)
        assert np.array_equal(alone.weights, problems.found(search).weights), "The search reads labels."
