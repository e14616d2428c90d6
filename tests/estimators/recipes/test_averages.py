"""The recipes of ensembles whose members are each the mean of a run."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn_checks import cases
from small_nets import small_nets

from skfusion import (
    EnsembleClassifier,
    EnsembleOfAveragesClassifier,
    EnsembleOfAveragesRegressor,
    EnsembleRegressor,
    nets,
)
from skfusion.average import EMA
from skfusion.collect import Averages
from skfusion.combine import Average, GeometricAverage
from skfusion.testing import checks_for

X, y = load_iris(return_X_y=True)
Z, t = load_diabetes(return_X_y=True)
classifier, regressor = small_nets(max_epochs=20, module__hidden=(16,), lr=0.02)


@pytest.mark.parametrize(
    ("recipe", "sentence", "data"),
    [
        (
            EnsembleOfAveragesClassifier(classifier(module__norm="batch"), n_members=3, burn_in=10),
            EnsembleClassifier(classifier(module__norm="batch"), collect=Averages(3, 10), combine=GeometricAverage()),
            (X, y),
        ),
        (
            EnsembleOfAveragesRegressor(regressor(), n_members=2, burn_in=0.25),
            EnsembleRegressor(regressor(), collect=Averages(2, 0.25), combine=Average()),
            (Z, t),
        ),
        (
            EnsembleOfAveragesRegressor(regressor(), n_members=2, average=EMA(0.9, warm_up=True)),
            EnsembleRegressor(regressor(), collect=Averages(2, average=EMA(0.9, warm_up=True)), combine=Average()),
            (Z, t),
        ),
    ],
    ids=lambda p: type(p).__name__,
)
def test_recipe_is_its_sentence(recipe, sentence, data):
    recipe, sentence = recipe.set_params(random_state=5).fit(*data), sentence.set_params(random_state=5).fit(*data)
    assert recipe.pool_.names == sentence.pool_.names
    np.testing.assert_array_equal(recipe.predict(data[0]), sentence.predict(data[0]))
    assert not {"collect", "combine", "select"} & {*recipe.get_params(deep=False)}


def test_classes_are_those_of_the_summed_logits():
    fitted = EnsembleOfAveragesClassifier(classifier(), n_members=3, random_state=0).fit(X, y)
    logits = 0
    for member in fitted.pool_:
        module = nets.Runner(fitted.net_, "classification").module
        module.load_state_dict(member.state)
        with torch.no_grad():
            logits = logits + module.eval()(torch.from_numpy(X.astype(np.float32)))
    np.testing.assert_array_equal(fitted.predict(X), logits.argmax(1).numpy())
    np.testing.assert_allclose(fitted.predict_proba(X), (logits / 3).softmax(1).numpy(), rtol=1e-3, atol=1e-6)


def test_labels_that_do_not_exclude_each_other():
    A, b = make_multilabel_classification(60, n_classes=3, random_state=0)
    fitted = EnsembleOfAveragesClassifier(classifier(multilabel=True), n_members=2, random_state=0).fit(A, b)
    assert fitted.predict(A).shape == (60, 3)


def test_members_are_cached_and_do_not_depend_on_processes(tmp_path):
    params = {"n_members": 2, "random_state": 0}
    plain = EnsembleOfAveragesClassifier(classifier(), **params).fit(X, y)
    for _ in range(2):
        cached = EnsembleOfAveragesClassifier(classifier(), memory=str(tmp_path), n_jobs=2, **params).fit(X, y)
        np.testing.assert_array_equal(cached.predict_proba(X), plain.predict_proba(X))
    other = EnsembleOfAveragesClassifier(classifier(), memory=str(tmp_path), burn_in=0.9, **params).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), plain.predict_proba(X))


ESTIMATORS = {
    "classifier": EnsembleOfAveragesClassifier(classifier(module__norm="batch"), n_members=2),
    "regressor": EnsembleOfAveragesRegressor(regressor(), n_members=2),
}


def law_cases():
    """Every law of both, under names that are the same in every process."""
    for name, estimator in ESTIMATORS.items():
        for law_name, law in checks_for(estimator):
            yield pytest.param(estimator, law, id=f"{name}-{law_name}")


@pytest.mark.parametrize(("estimator", "check"), [*cases(ESTIMATORS, set()), *law_cases()])
def test_recipe_keeps_to_scikit_learn_and_the_laws(estimator, check):
    check(estimator)
