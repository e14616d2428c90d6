"""What estimators print: nets by what was chosen of them, the same in every run."""

import re

import pytest
import skorch
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier, SoupRegressor, StackingFusion
from skfusion._component import Component
from skfusion.collect import Seeds
from skfusion.combine import Stack
from skfusion.nets import mlp_classifier, mlp_regressor, with_module
from skfusion.tuning import FusionSearch

INTERNAL = ("_params_to_validate", "callbacks__", "prefixes", "cuda_dependent", "history", "DataLoader", "ValidSplit")


def space(trial):
    return {}


def net():
    return mlp_classifier(max_epochs=3)


ESTIMATORS = {
    "soup": lambda: SoupClassifier(net(), collect=Seeds(2)),
    "regressor": lambda: SoupRegressor(mlp_regressor(max_epochs=3)),
    "stacking": lambda: StackingFusion([("a", net()), ("b", LogisticRegression(C=3))]),
    "in another": lambda: FusionSearch(EnsembleClassifier(net()), space),
    "in a pipeline": lambda: FusionSearch(make_pipeline(StandardScaler(), EnsembleClassifier(net())), space),
    "plain skorch": lambda: SoupClassifier(
        skorch.NeuralNetClassifier(nn.Linear, module__in_features=2, module__out_features=2, max_epochs=3)
    ),
    "initialised": lambda: SoupClassifier(with_module(net(), nn.Linear(2, 2)).initialize()),
    "in a component": lambda: EnsembleClassifier(combine=Stack(net())),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nets_are_shown_by_what_was_chosen(name):
    estimator = ESTIMATORS[name]()
    before = dict(vars(estimator))
    shown = repr(estimator)
    assert shown.startswith(f"{type(estimator).__name__}(")
    assert "max_epochs=3" in shown
    assert not [word for word in INTERNAL if word in shown]
    assert not re.search("0x|<class|<function", shown)
    assert "..." not in shown.replace("Linear(...)", "")
    assert vars(estimator) == before
    assert repr(clone(estimator)) == shown


def test_what_was_not_chosen_is_not_shown():
    given = skorch.NeuralNetClassifier(nn.Linear, module__in_features=2)
    shown = "NeuralNetClassifier(module=Linear, module__in_features=2)"
    assert " ".join(repr(SoupClassifier(given)).split()) == f"SoupClassifier(estimator={shown})"
    assert repr(Stack(given)) == f"Stack(final_estimator={shown})"
    assert repr(SoupClassifier()) == "SoupClassifier()"


def test_modules_and_optimisers_are_shown_by_their_names():
    module = nn.Sequential(*[nn.Linear(2, 2) for _ in range(9)])
    given = skorch.NeuralNetRegressor(module, optimizer=torch.optim.Adam, optimizer__betas=(0.8, 0.9), lr=0.5)
    text = " ".join(repr(SoupRegressor(given)).split())
    assert "lr=0.5, module=Sequential(...), optimizer=Adam, optimizer__betas=(0.8, 0.9)" in text


def test_components_show_their_nets_in_a_line():
    class Held(Component):
        def __init__(self, net=None):
            self.net = net

    assert (
        repr(Held(skorch.NeuralNetClassifier(nn.Linear, lr=3))) == "Held(net=NeuralNetClassifier(lr=3, module=Linear))"
    )


def test_the_order_of_a_set_does_not_change_from_run_to_run():
    names = {"gamma", "alpha", "beta", "delta"}  # strings, whose order in a set is another in each process
    shown = repr(Stack(skorch.NeuralNetClassifier(nn.Linear, module__names=names)))
    assert "module__names={'alpha', 'beta', 'delta', 'gamma'}" in shown


def test_estimators_of_others_show_nets_in_ours_as_we_do():
    shown = "NeuralNetClassifier(max_epochs=3, module=Linear)"
    soup = SoupClassifier(skorch.NeuralNetClassifier(nn.Linear, max_epochs=3), collect=Seeds(2))
    for outer in (
        make_pipeline(StandardScaler(), soup),
        GridSearchCV(soup, {"refit": [True, False]}),
        BaggingClassifier(soup),
        StackingClassifier([("soup", soup), ("other", LogisticRegression())]),
    ):
        text = " ".join(repr(outer).split())
        assert f"SoupClassifier(collect=Seeds(n_members=2), estimator={shown})" in text


def test_what_is_printed_can_be_evaluated():
    module = nn.Linear
    given = skorch.NeuralNetClassifier(module, module__in_features=3, module__out_features=2, lr=0.5)
    soup = SoupClassifier(given, collect=Seeds(2), scoring="accuracy")
    names = {"NeuralNetClassifier": skorch.NeuralNetClassifier, "Linear": module, "Seeds": Seeds}
    again = eval(repr(soup), {"SoupClassifier": SoupClassifier, **names})
    assert repr(again) == repr(soup)
    assert again.estimator.lr == 0.5


def test_all_parameters_are_shown_where_scikit_learn_is_asked_to():
    soup = SoupClassifier(skorch.NeuralNetClassifier(nn.Linear, max_epochs=3))
    with config_context(print_changed_only=False):
        text = " ".join(repr(soup).split())
    assert "batch_size=128" in text
    assert "max_epochs=3" in text
    assert "validation_fraction=0.2" in text
    assert "_params_to_validate" not in text


def test_only_the_printer_gets_stand_ins_for_nets():
    given = skorch.NeuralNetClassifier(nn.Linear)
    assert SoupClassifier(given).get_params(deep=False)["estimator"] is given
    assert StackingFusion(estimators=[("a", given)]).get_params(deep=False)["estimators"][0][1] is given
    assert clone(SoupClassifier(given)).estimator is not given


class OfAUser(SoupClassifier):
    """An estimator of a user, which looks at its net where it is asked for its parameters."""

    def get_params(self, deep=True):
        params = super().get_params(deep)
        assert params["estimator"].max_epochs == 3
        return params


def test_get_params_of_a_user_gets_the_net_itself():
    soup = OfAUser(skorch.NeuralNetClassifier(nn.Linear, max_epochs=3))
    assert "NeuralNetClassifier" in repr(soup)
    assert "NeuralNetClassifier" in repr(make_pipeline(soup))
    assert clone(soup).estimator.max_epochs == 3
