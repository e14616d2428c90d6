"""Estimators that reuse models: what they choose, what they say, and that they choose honestly."""

import pickle
import warnings
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_nets import small_nets

from skfusion import ModelPool, ModelReuseClassifier, ModelReuseRegressor
from skfusion.pool import LeakageWarning
from skfusion.reuse import (
    AverageFound,
    FineTune,
    Found,
    LogME,
    MixtureMMD,
    Probe,
    ReusePool,
    Route,
    Search,
    SingleMMD,
    Specification,
    StackFound,
)
from skfusion.tuning import TunedReuse

classifier, regressor = small_nets(module__n_in=64, module__hidden=(16,), lr=0.02, max_epochs=12)
X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
HALF = np.random.RandomState(0).uniform(size=len(Y)) < 0.5
X, Y, NEW, ASKED = X[HALF], Y[HALF], X[~HALF], Y[~HALF]
LINEAR = LogisticRegression(max_iter=300)


@pytest.fixture(scope="module")
def pool():
    """Models for the digits below 5 and from 5 on, of which one is a network."""
    low = Y < 5
    pool = ReusePool().add(LINEAR.fit(X[low], Y[low]), X[low], spec=Specification(50), name="low")
    net = classifier(module__n_out=5).fit(X[~low], Y[~low] - 5)
    return pool.add(net, X[~low], spec=Specification(50), name="high", labels=[5, 6, 7, 8, 9])


def quiet(estimator, *args, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return estimator.fit(*args, **more)


def test_few_labels_are_enough(pool):
    few = ModelReuseClassifier(pool, estimator=LINEAR, random_state=0)
    few.fit(NEW[:20], ASKED[:20], X_unlabelled=NEW[20:200])
    assert few.chosen_ == "Route"
    assert isinstance(few.reuser_, Route)
    assert {*few.found_.names} == {"low", "high"}
    assert few.found_.fits
    assert few.score(NEW[200:], ASKED[200:]) > LINEAR.fit(NEW[:20], ASKED[:20]).score(NEW[200:], ASKED[200:]) + 0.1
    assert few.report_["chosen"].sum() == 1
    assert few.report_.loc["Route", "chosen"]
    assert {"Route", "AverageFound", "StackFound", "Probe", "FineTune", "anew"} == {*few.report_.index}


def test_no_labels_are_enough(pool):
    none = ModelReuseClassifier(pool).fit(NEW[:200])
    assert none.chosen_ == "Route"
    assert none.classes_.tolist() == [*range(10)]
    assert none.score(NEW[200:], ASKED[200:]) > 0.85
    assert none.predict_proba(NEW[:7]).shape == (7, 10)
    one = ModelReuseClassifier(pool, reuse=AverageFound(), search=SingleMMD()).fit(NEW[ASKED < 5])
    assert one.chosen_ == "AverageFound"
    assert one.classes_.tolist() == [0, 1, 2, 3, 4]


def test_labels_that_few_rows_lack_are_predicted(pool):
    rows = np.flatnonzero(ASKED % 5 != 0)[:15]
    few = ModelReuseClassifier(pool, estimator=LINEAR, reuse=Route(), random_state=0)
    few.fit(NEW[rows], ASKED[rows], X_unlabelled=NEW)
    assert few.classes_.tolist() == [*range(10)]
    assert few.score(NEW, ASKED) > 0.85


def test_nothing_fits_and_a_model_is_trained_anew(pool):
    inverse = 1 - NEW  # digits, white on black
    reused = ModelReuseClassifier(pool, estimator=LINEAR, random_state=0)
    with pytest.warns(UserWarning, match="trained anew.*Out of fold.*Nothing fits"):
        reused.fit(inverse[:300], ASKED[:300])
    assert reused.chosen_ == "anew"
    assert reused.found_.fits is False
    assert reused.report_.loc["anew", "score"] == reused.report_["score"].max()
    assert np.array_equal(reused.predict(inverse[300:]), LINEAR.fit(inverse[:300], ASKED[:300]).predict(inverse[300:]))


def test_nothing_fits_and_there_are_no_labels(pool):
    with pytest.warns(UserWarning, match="Nothing fits.*do not rely on the predictions"):
        ModelReuseClassifier(pool).fit(1 - NEW[:100])


def test_labels_of_another_task_are_learned_on_top_of_the_models(pool):
    parity = np.where(ASKED % 2, "odd", "even")
    reused = quiet(ModelReuseClassifier(pool, estimator=DummyClassifier(), random_state=0), NEW[:150], parity[:150])
    assert reused.chosen_ in ("StackFound", "Probe", "FineTune")
    assert reused.classes_.tolist() == ["even", "odd"]
    assert "predicts one of the labels" in reused.report_.loc["Route", "failure"]
    assert reused.score(NEW[150:], parity[150:]) > 0.75


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("seed", range(2))
def test_random_labels_give_chance(pool, copies, seed):
    rng = np.random.RandomState(seed)
    rows, coins = np.repeat(np.arange(200), copies), rng.randint(2, size=200)
    near = KNeighborsClassifier(1)  # which knows by heart what it has seen
    options = [Route(), StackFound(), Probe(KNeighborsClassifier(1)), FineTune(30)]
    reused = quiet(ModelReuseClassifier(pool, estimator=near, reuse=options, random_state=seed), NEW[rows], coins[rows])
    scores = reused.report_["score"].dropna()
    assert scores.max() - 0.5 < 4 * 0.5 / np.sqrt(200)
    fresh = rng.randint(2, size=len(NEW) - 200)
    assert abs(reused.score(NEW[200:], fresh) - 0.5) < 4 * 0.5 / np.sqrt(len(fresh))


class ByLabels(Search):
    """Chooses the model that is right most often, as searches do that read labels; remembers which rows it was given.

    References
    ----------
    None.
    """

    needs_labels = True
    seen: ClassVar = []

    def __call__(self, pool, X, y=None):
        self.seen.append((X, y))
        right = [(np.array(offer.labels)[offer.predictions(X).argmax(axis=1)] == y).mean() for offer in pool]
        return Found.best_of(pool, right, "accuracy")


def test_a_search_that_reads_labels_is_done_in_each_fold(pool):
    ByLabels.seen.clear()
    few = quiet(
        ModelReuseClassifier(pool, search=ByLabels(), estimator=LINEAR, cv=3, random_state=0), NEW[:30], ASKED[:30]
    )
    assert sorted(len(y) for _, y in ByLabels.seen) == [20, 20, 20, 30]
    assert few.found_.fits is None
    with pytest.raises(ValueError, match="ByLabels ranks models by labels"):
        ModelReuseClassifier(pool, search=ByLabels()).fit(NEW[:30])


def test_among_equals_models_are_reused_where_they_fit(pool):
    equal = lambda estimator, X, y: 1.0  # noqa: E731
    few = ModelReuseClassifier(pool, estimator=LINEAR, scoring=equal, reuse=[StackFound(), Route()], random_state=0)
    assert few.fit(NEW[:40], ASKED[:40], X_unlabelled=NEW).chosen_ == "StackFound"
    with pytest.warns(UserWarning, match="trained anew"):
        assert few.fit(1 - NEW[:100], ASKED[:100]).chosen_ == "anew"


def test_one_labelled_row_chooses_nothing(pool):
    one = quiet(ModelReuseClassifier(pool, estimator=DummyClassifier()), NEW[:1], ASKED[:1], X_unlabelled=NEW)
    assert one.chosen_ == "Route"
    assert np.isnan(one.report_.loc["Route", "score"])
    assert one.score(NEW, ASKED) > 0.85
    far = quiet(ModelReuseClassifier(pool, estimator=DummyClassifier()), 1 - NEW[:1], ASKED[:1], X_unlabelled=1 - NEW)
    assert far.chosen_ == "anew"
    assert far.classes_.tolist() == [ASKED[0]]


def test_a_fold_of_one_class_is_learned_anew_too(pool):
    rows = np.r_[np.flatnonzero(ASKED == 0)[:11], np.flatnonzero(ASKED == 1)[:1]]
    few = quiet(ModelReuseClassifier(pool, estimator=LINEAR, random_state=0), NEW[rows], ASKED[rows], X_unlabelled=NEW)
    assert few.report_["failure"].eq("").all()
    assert few.report_.loc["anew", "score"] == 11 / 12
    same = quiet(ModelReuseClassifier(pool[["high"]], estimator=LINEAR), 1 - NEW[rows[:5]], ASKED[rows[:5]])
    assert same.classes_.tolist() == [0]
    assert same.predict_proba(NEW[:3]).tolist() == [[1.0]] * 3


def test_an_option_that_fails_is_left_out_and_named(pool):
    class Broken(LogisticRegression):
        def predict_proba(self, X):
            raise RuntimeError("out of order")

    low = Y < 5
    worse = pool.add(Broken().fit(X[low], Y[low]), X[low] + 0.01, spec=Specification(50), name="broken")
    few = ModelReuseClassifier(worse[["broken"]], estimator=LINEAR, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        few.fit(NEW[:60], ASKED[:60])
    assert few.chosen_ == "anew"
    assert any("Route, RuntimeError: out of order" in str(w.message) for w in caught)


def test_rows_that_models_know_are_warned_of(pool):
    net = classifier(module__n_out=10).fit(X, Y)
    members = ModelPool.from_estimators([("net", net)], X, Y)
    known = ReusePool(members, [Specification(20).fit(X)])
    with pytest.warns(LeakageWarning, match="to choose how models are reused"):
        ModelReuseClassifier(known, estimator=LINEAR, random_state=0).fit(X[:50], Y[:50])


def test_it_predicts_the_same_after_pickle_and_clones_with_its_pool(pool):
    few = ModelReuseClassifier(pool, estimator=LINEAR, reuse=[Route(), FineTune(2)], random_state=0)
    assert clone(few).pool is pool
    few.fit(NEW[:40], ASKED[:40], X_unlabelled=NEW)
    assert np.array_equal(pickle.loads(pickle.dumps(few)).predict_proba(NEW), few.predict_proba(NEW))
    again = clone(few).fit(NEW[:40], ASKED[:40], X_unlabelled=NEW)
    assert np.array_equal(again.predict_proba(NEW), few.predict_proba(NEW))
    assert few.set_params(search=MixtureMMD(3), search__max_members=2).search.max_members == 2


def test_fitting_leaves_data_pool_and_generators_alone(pool, untouched_rng):
    before = NEW.copy(), {k: v.clone() for k, v in pool["high"].member.state.items()}
    quiet(ModelReuseClassifier(pool, estimator=LINEAR, random_state=0), NEW[:30], ASKED[:30])
    assert np.array_equal(NEW, before[0])
    assert all((pool["high"].member.state[k] == v).all() for k, v in before[1].items())


def test_images_are_reused_by_networks_and_flat_models(pool):
    images, asked = NEW.reshape(-1, 8, 8), ASKED
    low = pool[["low"]]
    reused = ModelReuseClassifier(low, estimator=LINEAR, reuse=Route(), random_state=0).fit(images[asked < 5])
    assert reused.score(images[asked < 5], asked[asked < 5]) > 0.9


def test_models_and_transforms_get_the_names_of_columns():
    table = pd.DataFrame(NEW[:, 20:28], columns=[f"pixel {i}" for i in range(8)])
    by_name = make_pipeline(make_column_transformer((StandardScaler(), ["pixel 3", "pixel 6"])), LogisticRegression())
    half, spec = table[:300], Specification(20, transform=StandardScaler().fit(table[:300]))
    named = ReusePool().add(by_name.fit(half, ASKED[:300]), half, spec=spec, name="named")
    reused = ModelReuseClassifier(named).fit(table[300:])
    assert reused.feature_names_in_[0] == "pixel 0"
    assert (reused.predict(table[320:]) == by_name.predict(table[320:])).mean() > 0.99


# ---- searches that ask for labels


@pytest.mark.parametrize("search", [LogME(), TunedReuse(n_trials=1)], ids=["LogME", "TunedReuse"])
def test_a_search_that_fails_in_a_fold_leaves_training_anew(pool, search):
    two = [np.flatnonzero(ASKED == 1)[0], np.flatnonzero(ASKED == 7)[0]]
    model = ModelReuseClassifier(pool, search=search, estimator=LINEAR, random_state=0)
    with pytest.warns(UserWarning, match="are left out"), pytest.warns(UserWarning, match="labelled rows do not tell"):
        model.fit(NEW[two], ASKED[two])
    assert model.chosen_ == "anew"
    assert model.report_["failure"].str.contains("at least 2").sum() >= 1


def test_the_search_that_is_kept_has_seen_all_rows_and_the_given_one_none(pool):
    given, alone = TunedReuse(n_trials=1), TunedReuse(n_trials=1)
    model = quiet(
        ModelReuseClassifier(pool, search=given, estimator=LINEAR, cv=2, random_state=0), NEW[:30], ASKED[:30]
    )
    pool.search(NEW[:30], ASKED[:30], alone)
    assert not hasattr(given, "study_")
    assert model.search_.best_score_ == alone.best_score_


# ---- what is refused


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"pool": ModelPool.__new__(ModelPool)}, TypeError, "pool must be a ReusePool; got a ModelPool"),
        ({"pool": ReusePool()}, ValueError, "The pool is empty"),
        ({"search": "mmd"}, TypeError, "search must be a Search"),
        ({"search": SingleMMD}, TypeError, r"Write SingleMMD\(\)"),
        ({"reuse": "route"}, TypeError, "reuse must be a Reuser"),
        ({"reuse": [Route]}, TypeError, r"Write Route\(\)"),
        ({"reuse": []}, ValueError, "empty list"),
    ],
)
def test_wrong_parameters_are_refused(pool, params, error, message):
    with pytest.raises(error, match=message):
        ModelReuseClassifier(**{"pool": pool, "estimator": LINEAR, **params}).fit(NEW[:20], ASKED[:20])


def test_a_pool_for_another_task_is_refused(pool):
    with pytest.raises(ValueError, match="needs models for regression"):
        ModelReuseRegressor(pool).fit(NEW[:20], ASKED[:20].astype(float))


def test_what_learns_needs_labels(pool):
    with pytest.raises(ValueError, match="learns from labelled rows"):
        ModelReuseClassifier(pool, reuse=StackFound()).fit(NEW)


def test_without_a_pool_labels_are_needed():
    with pytest.raises(ValueError, match="requires y"):
        ModelReuseClassifier().fit(NEW)


def test_several_labels_a_row_are_refused(pool):
    with pytest.raises(ValueError, match="exclude each other"):
        ModelReuseClassifier(pool).fit(NEW[:20], np.eye(10, dtype=int)[ASKED[:20]] | 1)
