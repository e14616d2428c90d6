"""Searches by distance: what they find where that is known, and whether it fits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.dummy import DummyRegressor

from skfusion.reuse import AllMixtureMMD, Found, MixtureMMD, ReusePool, SingleMMD, Specification

SEARCHES = [SingleMMD(), MixtureMMD(), AllMixtureMMD()]


def source(place, n, seed):
    """Rows of one of several overlapping sources in five columns."""
    rng = np.random.RandomState(1000 * place + seed)
    return rng.normal(size=(n, 5)) + 2.5 * np.eye(5)[place]


@pytest.fixture(scope="module")
def pool():
    model = DummyRegressor().fit(np.zeros((1, 5)), [0.0])
    pool = ReusePool()
    for place in range(5):
        pool = pool.add(model, source(place, 400, 0), spec=Specification(40), name=f"at-{place}")
    return pool


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
@pytest.mark.parametrize("place", range(5))
def test_the_source_is_found(pool, search, place):
    found = pool.search(source(place, 200, 1), search=search)
    assert found.names[0] == f"at-{place}"
    assert found.chosen_weights[0] > 0.85
    assert found.fits


@pytest.mark.parametrize("search", [MixtureMMD(), AllMixtureMMD(kept=0.95)], ids=repr)
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_shares_of_a_mixture_are_recovered(pool, search, share):
    n = 600
    X = np.vstack([source(1, int(share * n), 1), source(3, n - int(share * n), 1)])
    found = pool.search(X, search=search)
    assert {*found.names[:2]} == {"at-1", "at-3"}
    weights = dict(zip(found.names, found.chosen_weights, strict=True))
    assert weights["at-1"] == pytest.approx(share, abs=0.08)
    assert found.fits


def test_one_source_is_not_enough_for_a_mixture(pool):
    X = np.vstack([source(0, 300, 1), source(4, 300, 1)])
    assert pool.search(X, search=SingleMMD()).fits is False
    assert pool.search(X).distance < pool.search(X, search=SingleMMD()).distance


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
def test_nothing_fits_what_no_provider_has(pool, search):
    found = pool.search(np.random.RandomState(0).normal(size=(200, 5)) - 3, search=search)
    assert found.fits is False
    assert str(found).startswith("Nothing fits")


def test_rows_of_the_source_are_rarely_refused(pool):
    refused = [not pool.search(source(2, m, s), search=SingleMMD()).fits for m in (10, 80) for s in range(2, 22)]
    assert np.mean(refused) <= 0.05


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_very_few_rows_of_the_source_are_rarely_refused(m):
    refused = []
    for seed in range(20):
        rng = np.random.RandomState(seed)
        spec = Specification(None).fit(rng.normal(size=(200, 2)))
        pool = ReusePool().add(DummyRegressor().fit(np.zeros((1, 2)), [0.0]), spec=spec)
        refused.append(not pool.search(rng.normal(size=(m, 2)), search=SingleMMD()).fits)
    assert np.mean(refused) <= 0.1


def test_rows_of_the_source_are_rarely_refused_where_some_are_drawn(monkeypatch):
    """The noise is that of the rows that are embedded, and not of all that there are."""
    monkeypatch.setattr("skfusion.reuse._specification.MOST_ROWS", 60)
    refused = []
    for seed in range(20):
        rng = np.random.RandomState(seed)
        spec = Specification(20).fit(rng.normal(size=(4000, 2)))
        pool = ReusePool().add(DummyRegressor().fit(np.zeros((1, 2)), [0.0]), spec=spec)
        refused.append(not pool.search(rng.normal(size=(4000, 2)), search=SingleMMD()).fits)
    assert np.mean(refused) <= 0.05


def test_the_greedy_search_stops_where_nothing_is_gained(pool):
    X = source(2, 500, 1)
    assert len(pool.search(X, search=MixtureMMD(min_improvement=0.5)).names) == 1
    assert 2 < len(pool.search(X, search=MixtureMMD(min_improvement=0)).names) <= 5
    assert len(pool.search(X, search=MixtureMMD(2, min_improvement=0)).names) == 2


def test_the_greedy_search_is_never_worse_than_one_model(pool):
    rng = np.random.RandomState(0)
    for _ in range(5):
        X = np.vstack([source(p, int(n), 3) for p, n in enumerate(rng.randint(5, 60, size=5))])
        distances = [pool.search(X, search=s).distance for s in (SingleMMD(), MixtureMMD(), AllMixtureMMD(1.0))]
        assert distances[0] >= distances[1] >= distances[2] - 1e-7


def test_distances_are_those_of_the_specifications(pool):
    X = source(0, 50, 1)
    found = pool.search(X, search=SingleMMD())
    assert np.allclose(-found.scores, [spec.mmd(X) for spec in pool.specifications], atol=1e-7)
    assert found.distance == pytest.approx(-found.scores.max(), abs=1e-7)
    frame = found.to_frame()
    assert frame.index[0] == "at-0"
    assert frame["chosen"].tolist() == [True] + [False] * 4
    assert frame["weight"].sum() == 1


def test_digits_are_found_among_digits():
    X, y = load_digits(return_X_y=True)
    X, half = X / 16, np.random.RandomState(0).uniform(size=len(y)) < 0.5
    pool = ReusePool()
    for low in range(0, 10, 2):
        rows = X[half & (y // 2 == low // 2)]
        pool = pool.add(DummyRegressor().fit(rows, rows[:, 0]), rows, name=f"{low}-{low + 1}")
    for low in range(0, 10, 2):
        found = pool.search(X[~half & (y // 2 == low // 2)])
        assert found.names[0] == f"{low}-{low + 1}"
        assert found.chosen_weights[0] > 0.9
        assert found.fits


def test_the_best_by_a_score(pool):
    found = Found.best_of(pool, [0.1, np.nan, 0.5, 0.3, -1], "LogME", n_members=2)
    assert found.names == ["at-2", "at-3"]
    assert found.fits is None
    assert found.weights.tolist() == [0, 0, 0.5, 0.5, 0]
    assert "not tested" in str(found)
    with pytest.raises(ValueError, match="None of the models has a finite LogME"):
        Found.best_of(pool, [np.nan] * 5, "LogME")


@pytest.mark.parametrize(
    ("search", "message"), [(MixtureMMD(0), "max_members"), (AllMixtureMMD(0), "kept"), (AllMixtureMMD(1.5), "kept")]
)
def test_wrong_parameters_are_refused(pool, search, message):
    with pytest.raises(ValueError, match=message):
        pool.search(source(0, 10, 1), search=search)


def test_wrong_searches_and_inputs_are_refused(pool):
    with pytest.raises(TypeError, match="search must be a Search"):
        pool.search(source(0, 10, 1), search="mmd")
    with pytest.raises(ValueError, match="5 and 4 features"):
        pool.search(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="pool is empty"):
        ReusePool().search(np.zeros((3, 4)))
