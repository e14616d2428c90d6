"""Members of a pool as minima of the loss."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

from skfusion import EnsembleClassifier, EnsembleRegressor
from skfusion.align import WeightMatching
from skfusion.collect import Seeds
from skfusion.connect import Bezier, Line, PolyChain
from skfusion.diagnose import minima_of, pairwise
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning

X, Y = load_iris(return_X_y=True)
NET = mlp_classifier(max_epochs=10, module__hidden=(8,), lr=0.02)


@pytest.fixture(scope="module")
def pool():
    return EnsembleClassifier(NET, collect=Seeds(3), random_state=0).fit(X, Y).pool_


def test_lines_have_the_barriers_of_the_pairs(pool):
    graph = minima_of(pool, X, Y, connect=Line(), n_points=5)
    assert [*graph.losses] == pool.names
    assert len(graph.tree) == 2
    with pytest.warns(LeakageWarning):  # the landscape is that of the rows that were trained on
        barriers = pairwise(pool, X, Y, n_points=5)["barrier"]
    for edge, profile in graph.profiles.items():
        assert profile.barrier == pytest.approx(barriers[edge], rel=1e-4, abs=1e-6)
        assert np.isfinite(profile.score).all()


def test_curves_lower_the_passes(pool):
    lines, curves = (minima_of(pool, X, Y, connect=c, n_points=11) for c in (Line(), Bezier(n_epochs=10)))
    assert curves.losses == pytest.approx(lines.losses)
    assert max(curves.saddles[e] for e in curves.tree) < max(lines.saddles[e] for e in lines.tree)


def test_members_can_be_aligned_first(pool):
    plain, aligned = (minima_of(pool, X, Y, connect=Line(), align=a, n_points=11) for a in (None, WeightMatching()))
    assert aligned.losses == pytest.approx(plain.losses, rel=1e-4)
    before, after = (sum(p.arc[-1] for p in g.profiles.values()) / len(g.profiles) for g in (plain, aligned))
    assert after < before


def test_values_are_joined_whatever_their_unit():
    inputs, values = load_diabetes(return_X_y=True)
    net = mlp_regressor(max_epochs=5, module__hidden=(8,), lr=0.02)
    pool = EnsembleRegressor(net, collect=Seeds(2), random_state=0).fit(inputs, values).pool_
    graph = minima_of(pool, inputs, values, connect=PolyChain(n_epochs=3), n_points=5)
    assert graph.components() == [pool.names]
    assert graph.saddle(*pool.names) < 1e5
    (path,) = graph.paths.values()
    lowest = min(graph.losses.values())
    assert 0.2 * lowest < min(path.history) <= max(path.history) < 5 * graph.saddle(*pool.names)  # of the same loss
