"""How members stand to each other, in numbers that a hand can compute."""

import math

import numpy as np
import pytest
import torch
from reference.barrier import barrier
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from skfusion import EnsembleClassifier, ModelPool, SoupClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import FineTunes, Seeds
from skfusion.diagnose import pairwise
from skfusion.nets import Runner, mlp_classifier
from skfusion.pool import LeakageWarning, Member
from skfusion.repair import Recalibrate
from skfusion.state import weighted_sum

X, y = load_iris(return_X_y=True)
X = (X + np.linspace(0, 1e-3, 150)[:, None]).astype(np.float32)  # no two rows are alike
NET = mlp_classifier(max_epochs=3, module__hidden=(6,), module__norm="batch")


def pool_of(*vectors, base=None):
    members = [Member("abc"[k], {"w": torch.tensor(v)}) for k, v in enumerate(vectors)]
    return ModelPool(members, None if base is None else {"w": torch.tensor(base)})


# ---- weights -----------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    pool = pool_of([4.0, 1.0, 0.0], [1.0, 5.0, 0.0], [-2.0, 1.0, 2.0], base=[1.0, 1.0, 0.0])
    table = pairwise(pool)  # the task vectors are (3, 0, 0), (0, 4, 0) and (-3, 0, 2)
    assert [*table.index] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert table.index.names == ["member", "other"]
    assert [*table.columns] == ["distance", "cosine", "sign_conflict"]
    assert table["distance"].tolist() == pytest.approx([5, math.sqrt(40), math.sqrt(29)])
    assert table["cosine"].tolist() == pytest.approx([0, -3 / math.sqrt(13), 0])
    assert np.isnan(table.loc[("a", "b"), "sign_conflict"])  # there is no weight that both have moved
    assert table.loc[("a", "c"), "sign_conflict"] == 1
    assert np.isnan(table.loc[("b", "c"), "sign_conflict"])


def test_without_a_base_there_are_distances_only():
    table = pairwise(pool_of([4.0, 1.0], [1.0, 5.0]))
    assert table["distance"].tolist() == [5]
    assert table[["cosine", "sign_conflict"]].isna().all(axis=None)


def test_statistics_and_counters_do_not_count_and_ties_count_once():
    def state(value):
        w = torch.full((4,), value)
        return {"a": w, "b": w, "norm.running_mean": torch.full((2,), 9 * value), "n": torch.tensor(int(value))}

    pool = ModelPool([Member("x", state(1.0)), Member("y", state(2.0))], state(0.0))
    assert pairwise(pool).iloc[0].tolist() == pytest.approx([2, 1, 0])


# ---- data --------------------------------------------------------------------------------------------------------


def test_values_between_members_by_hand():
    """Regression with one weight: the loss (w - 2)^2 x^2 is a parabola."""
    net = NeuralNetRegressor(nn.Linear(1, 1, bias=False), train_split=None, verbose=0)
    places = {"one": 1.0, "four": 4.0, "minus": -1.0}
    pool = ModelPool([Member(n, {"weight": torch.tensor([[w]])}, net=net) for n, w in places.items()])
    x = np.array([[1.0], [-1.0], [3.0], [-3.0]], np.float32)  # mean square 5
    table = pairwise(pool, x, 2 * x, n_points=3)

    def loss(w):
        return 5 * (w - 2) ** 2

    for (a, b), row in table.iterrows():
        ends, middle = [loss(places[a]), loss(places[b])], loss((places[a] + places[b]) / 2)
        assert row["barrier"] == pytest.approx(max(0, middle - sum(ends) / 2), abs=1e-5)
        assert row["midpoint_score"] == pytest.approx(1 - middle / 20, abs=1e-6)  # the variance of the targets is 20
        assert row["gain"] == pytest.approx(min(ends) / 20 - middle / 20, abs=1e-6)
    assert table.loc[("one", "four"), "gain"] > 0 > table.loc[("one", "minus"), "gain"]


@pytest.fixture(scope="module")
def pool():
    return EnsembleClassifier(NET, collect=Seeds(3), random_state=0).fit(X[::2], y[::2]).pool_


def test_middles_have_recalibrated_statistics(pool):
    held = Rows(X[1::2], y[1::2])
    table = pairwise(pool, held.X, held.y, n_points=5)
    run = Runner(pool[0].net, "classification", held)
    data = nets.Judge(run, held, held)
    for (a, b), row in table.iterrows():
        ends = [pool[a].state, pool[b].state]
        ts = [0, 0.25, 0.5, 0.75, 1]
        line = [weighted_sum(ends, [1 - t, t]) for t in ts]
        line[1:-1] = [Recalibrate(n_passes=1)(s, ends, data) for s in line[1:-1]]
        assert row["barrier"] == pytest.approx(barrier(ts, [data.loss(s) for s in line]), abs=1e-5)
        scores = [np.mean(run.predict(s, held.X).argmax(1) == held.y) for s in line]
        assert row["midpoint_score"] == scores[2]
        assert row["gain"] == pytest.approx(scores[2] - max(scores[0], scores[-1]))
    assert table["barrier"].max() > 0


def test_fine_tunes_are_nearer_to_each_other_than_seeds(pool):
    tunes = EnsembleClassifier(NET, collect=FineTunes(n_members=3, init=3), random_state=0).fit(X[::2], y[::2]).pool_
    near, far = (pairwise(p, X[1::2], y[1::2]) for p in (tunes, pool))
    assert near["distance"].max() < far["distance"].min()
    assert near["barrier"].max() < far["barrier"].max()  # some seeds have no barrier on some processors
    assert near["cosine"].notna().all()
    assert far["cosine"].isna().all()


def test_nets_estimators_and_scores_may_be_given(pool, tmp_path):
    held = X[1::2], y[1::2]
    expected = pairwise(pool, *held)
    pool.save(tmp_path / "pool")
    loaded = ModelPool.load(tmp_path / "pool")
    soup = SoupClassifier(NET)
    for estimator in (NET, soup, EnsembleClassifier(NET)):
        found = pairwise(loaded, *held, estimator=estimator)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not hasattr(soup, "net_")
    log_loss = pairwise(pool, *held, scoring="neg_log_loss")
    assert (log_loss["midpoint_score"] < 0).all()
    np.testing.assert_allclose(log_loss["barrier"], expected["barrier"], atol=1e-6)


def test_labels_are_those_of_the_pool(pool):
    names = np.array(["setosa", "versicolor", "virginica"])
    named = pool.replace(classes=names)
    np.testing.assert_allclose(pairwise(named, X[1::2], names[y[1::2]]), pairwise(pool, X[1::2], y[1::2]), atol=1e-6)
    two = y[1::2] < 2
    assert pairwise(pool, X[1::2][two], y[1::2][two])["midpoint_score"].between(0, 1).all()


def test_rows_of_training_are_warned_of(pool):
    with pytest.warns(LeakageWarning, match="75 of the 150 rows used to evaluate the networks between members"):
        pairwise(pool, X, y)


# ---- errors ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_compared(pool, tmp_path):
    with pytest.raises(ValueError, match="A pair needs two members; the pool has 1"):
        pairwise(pool[:1])
    for n_points in (1, 2, 4):
        with pytest.raises(ValueError, match=f"n_points must be odd and at least 3.*got {n_points}"):
            pairwise(pool, X[1::2], y[1::2], n_points=n_points)
    for data in ((X, None), (None, y)):
        with pytest.raises(ValueError, match="Give both X and y, or neither"):
            pairwise(pool, *data)
    with pytest.raises(ValueError, match=r"'w' has shape \(2,\) in member 'a' and \(3,\) in member 'b'"):
        pairwise(pool_of([1.0, 2.0], [1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="'w' has shape .* in member 0 and .* in member base"):
        pairwise(pool_of([1.0, 2.0], [2.0, 2.0], base=[1.0]))
    bare = pool.replace([m.replace(net=None) for m in pool])
    with pytest.raises(ValueError, match="The pool has no net.*estimator="):
        pairwise(bare, X[1::2], y[1::2])
    wide = NeuralNetClassifier(nn.Linear(4, 3), criterion=nn.CrossEntropyLoss)
    with pytest.raises(ValueError, match="another architecture"):
        pairwise(pool, X[1::2], y[1::2], estimator=wide)
