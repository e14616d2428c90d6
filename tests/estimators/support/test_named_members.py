"""Members by name: what names may be, and what set_params does with them."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB

from skfusion import StackingFusion

X, y = load_iris(return_X_y=True)


@pytest.mark.parametrize("name", ["cv", "estimators", "n_jobs", "passthrough"])
def test_names_of_parameters_are_refused(name):
    stack = StackingFusion(estimators=[("a", GaussianNB()), (name, GaussianNB())])
    with pytest.raises(ValueError, match=rf"not be those of parameters of StackingFusion: rename \['{name}'\]"):
        stack.fit(X, y)


def test_names_with_two_underscores_are_refused():
    with pytest.raises(ValueError, match=r"must not contain '__'.*: rename \['a__b'\]"):
        StackingFusion(estimators=[("a__b", GaussianNB())]).fit(X, y)


def test_a_parameter_goes_before_a_member_of_its_name():
    member = Ridge()
    stack = StackingFusion(estimators=[("cv", member), ("ridge", Ridge())]).set_params(cv=3)
    assert stack.cv == 3
    assert stack.estimators[0] == ("cv", member)
    assert stack.get_params()["cv"] == 3


def test_parameters_and_members_at_once():
    stack = StackingFusion(estimators=[("a", GaussianNB()), ("b", LogisticRegression())])
    stack.set_params(a=LogisticRegression(), a__C=0.5, b__C=2.0, cv=np.int64(3))
    assert [member.C for _, member in stack.estimators] == [0.5, 2.0]
    assert stack.fit(X, y).score(X, y) > 0.9
