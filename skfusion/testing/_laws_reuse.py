"""Laws of what reuses models that were found for a new task."""

from __future__ import annotations

import pickle

import numpy as np
from sklearn.base import clone

from skfusion.reuse import MixtureMMD, Reuser
from skfusion.testing import _reuse_problems as problems


def check_reused_probabilities_sum_to_one(reuser: Reuser) -> None:
    """Predictions have a column for each class, are not negative, and have the sum one."""
    P = problems.reused(reuser, problems.found(MixtureMMD()))
    X, _ = problems.task()
    assert P.shape == (len(X), problems.N_CLASSES), f"Predictions have the shape {P.shape}."
    assert (P >= 0).all(), "A probability is negative."
    assert np.allclose(P.sum(axis=1), 1, atol=1e-5), "Probabilities do not sum to one."


def check_order_of_models_does_not_matter(reuser: Reuser) -> None:
    """A pool in another order gives the same predictions."""
    pools = problems.pool(), problems.pool()[::-1]
    ahead, back = (problems.reused(reuser, problems.found(MixtureMMD(), pool)) for pool in pools)
    assert np.allclose(ahead, back, atol=1e-3), "Predictions depend on the order of the pool."


def check_a_fitted_reuser_is_pickled(reuser: Reuser) -> None:
    """One that went through pickle predicts the same, bit for bit."""
    X, y = problems.task()
    fitted = clone(reuser).fit(problems.found(MixtureMMD()), X, y, np.arange(problems.N_CLASSES), 0)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again(X), fitted(X)), "Pickling changes the predictions."
