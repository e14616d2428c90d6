"""The parameter protocol of components."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import GridSearchCV

from skfusion._component import Component


class Plain(Component):
    pass


class Inner(Component):
    def __init__(self, rate: float = 0.5, sizes: tuple = (1, 2)):
        self.rate = rate
        self.sizes = sizes


class Outer(Component):
    def __init__(self, inner: object = None, name: str = "x"):
        self.inner = inner
        self.name = name


class Holder(ClassifierMixin, BaseEstimator):
    """An estimator that predicts the rate of its component."""

    def __init__(self, part=None):
        self.part = part

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[int(self.part.inner.rate)])


def test_params_of_a_component_without_any():
    assert Plain().get_params() == {}
    assert repr(Plain()) == "Plain()"
    assert repr(clone(Plain())) == "Plain()"
    assert [*Plain._test_params()] == [{}]
    assert Plain()._test_skips() == {}
    assert not Plain.needs_objective
    assert not Plain.needs_labels


def test_deep_params_reach_into_parts():
    inner = Inner(0.1)
    outer = Outer(inner)
    assert outer.get_params(deep=False) == {"inner": inner, "name": "x"}
    assert outer.get_params() == {"inner": inner, "name": "x", "inner__rate": 0.1, "inner__sizes": (1, 2)}
    assert Outer(Inner).get_params() == {"inner": Inner, "name": "x"}  # a class is no part


def test_parts_are_set_before_what_is_in_them():
    outer = Outer().set_params(inner__rate=0.9, inner=Inner())
    assert outer.inner.rate == 0.9


def test_a_part_that_was_left_out_has_no_parameters():
    with pytest.raises(ValueError, match=r"Outer cannot set inner__rate: inner is None, .* Give the part first\.$"):
        Outer().set_params(inner__rate=0.9)
    with pytest.raises(ValueError, match=r"such as inner=Inner\(\)"):
        Outer(Inner).set_params(inner__rate=0.9)


def test_set_params_reaches_into_parts():
    outer = Outer(Outer(Inner()))
    assert outer.set_params(name="y", inner__inner__rate=0.9) is outer
    assert outer.inner.inner.rate == 0.9
    assert outer.name == "y"
    replaced = Inner()
    outer.set_params(inner=replaced, inner__rate=0.2)
    assert outer.inner is replaced
    assert replaced.rate == 0.2


@pytest.mark.parametrize("name", ["speed", "speed__rate", "inner__speed"])
def test_unknown_params_are_named(name):
    with pytest.raises(ValueError, match=r"has no parameter 'speed'; it has \["):
        Outer(Inner()).set_params(**{name: 1})


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Inner()) == "Inner()"
    assert repr(Outer(Inner(0.25))) == "Outer(inner=Inner(rate=0.25))"


def test_clone_copies_parts():
    outer = Outer(Inner(0.25), "z")
    copy = clone(outer)
    assert copy.inner is not outer.inner
    assert repr(copy) == repr(outer)


def test_grid_search_reaches_components_inside_estimators():
    X, y = np.zeros((20, 1)), np.array([0, 1, 1, 1] * 5)
    search = GridSearchCV(Holder(Outer(Inner())), {"part__inner__rate": [0, 1]}, cv=2).fit(X, y)
    assert search.best_params_ == {"part__inner__rate": 1}
    assert search.best_score_ == 0.75
