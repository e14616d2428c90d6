"""The net of an estimator that is given none is that of its collector."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from skfusion import EnsembleClassifier, EnsembleRegressor, nets
from skfusion.collect import Bootstrap, Collector, Run, Seeds

X, y = load_iris(return_X_y=True)


class Narrow(Collector):
    """A collector of a user, which has a net of its own."""

    def runs(self, net, rows, rng):
        return [Run("one", 0)]

    def default_net(self, task):
        make = nets.mlp_regressor if task == "regression" else nets.mlp_classifier
        return make(max_epochs=1, module__hidden=(3,))


def test_a_collector_may_have_a_net_of_its_own():
    fitted = EnsembleClassifier(collect=Narrow(), random_state=0).fit(X, y)
    assert fitted.net_.get_params()["module__hidden"] == (3,)
    assert type(EnsembleRegressor(collect=Narrow(), random_state=0).fit(X, X[:, 0]).net_) is type(nets.mlp_regressor())


def test_a_given_net_goes_before_it():
    net = nets.mlp_classifier(max_epochs=1, module__hidden=(5,))
    fitted = EnsembleClassifier(net, collect=Narrow(), random_state=0).fit(X, y)
    assert fitted.net_.get_params()["module__hidden"] == (5,)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("collector", [Seeds(2), Bootstrap(2)])
def test_all_others_have_the_one_of_the_library(collector, task):
    given, expected = (of.default_net(task) for of in (collector, nets))
    assert type(given) is type(expected)
    assert given.criterion is expected.criterion
    assert given.module is expected.module


def test_what_is_no_collector_is_refused_as_ever():
    with pytest.raises(TypeError, match="collect must be a Collector"):
        EnsembleClassifier(collect=np.random).fit(X, y)
