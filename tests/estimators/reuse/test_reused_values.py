"""Values that models of others predict: as they are, of several outputs, and of tables."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from skfusion import ModelReuseRegressor
from skfusion.reuse import ReusePool, Specification

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
HALF = np.random.RandomState(0).uniform(size=len(Y)) < 0.5
X, Y, NEW, ASKED = X[HALF], Y[HALF], X[~HALF], Y[~HALF]


def test_values_are_reused():
    linear = Ridge().fit(X, Y.astype(float))
    pool = ReusePool().add(linear, X, spec=Specification(30), name="ridge")
    reused = ModelReuseRegressor(pool, estimator=Ridge(), random_state=0).fit(NEW[:10], ASKED[:10].astype(float))
    assert reused.chosen_ != "anew"
    assert reused.score(NEW[10:], ASKED[10:]) > Ridge().fit(NEW[:10], ASKED[:10]).score(NEW[10:], ASKED[10:])
    none = ModelReuseRegressor(pool).fit(NEW[:50])
    assert np.allclose(none.predict(NEW), linear.predict(NEW))
    assert none.predict(NEW).shape == (len(NEW),)


def test_several_values_a_row_are_reused_without_labels():
    target = np.stack([Y, -2.0 * Y], axis=1)
    both = Ridge().fit(X, target)
    reused = ModelReuseRegressor(ReusePool().add(both, X, spec=Specification(10)), random_state=0).fit(NEW[:30])
    assert np.allclose(reused.predict(NEW), both.predict(NEW))


def test_models_of_other_kinds_read_inputs_as_they_came():
    """In single precision these columns are all but equal."""
    rng = np.random.RandomState(0)
    times = 1.6e9 + rng.uniform(0, 100, size=(90, 1))
    nearest = KNeighborsRegressor(1).fit(times[:60], np.sin(times[:60, 0]))
    pool = ReusePool().add(nearest, times[:60], spec=Specification(10))
    reused = ModelReuseRegressor(pool, random_state=0).fit(times[60:])
    assert np.array_equal(reused.predict(times[60:]), nearest.predict(times[60:]))
    assert reused.found_.fits


def test_tables_with_columns_in_another_order_are_refused():
    frame = pd.DataFrame(X[:, 20:24], columns=[*"abcd"])
    pool = ReusePool().add(Ridge().fit(frame, Y), frame, spec=Specification(10), name="table")
    assert ModelReuseRegressor(pool).fit(frame[:20]).predict(frame).shape == (len(frame),)
    with pytest.raises(ValueError, match="Model 'table' was fitted on the columns of X in another order"):
        ModelReuseRegressor(pool).fit(frame[[*"bacd"]][:20])


def test_values_of_another_task_are_learned_anew():
    pool = ReusePool().add(Ridge().fit(X, Y.astype(float)), X, spec=Specification(30), name="ridge")
    rng = np.random.RandomState(0)
    target = NEW @ rng.normal(size=(64, 2))
    reused = ModelReuseRegressor(pool, estimator=Ridge(0.1), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        reused.fit(NEW[:200], target[:200])
    assert reused.chosen_ == "anew"
    assert reused.predict(NEW).shape == target.shape
    assert reused.score(NEW[200:], target[200:]) > 0.9
