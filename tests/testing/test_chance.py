"""Random labels give chance: every estimator and search, with weights, copies, groups, bags and validation."""

import inspect

import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit

import skfusion
from skfusion import (
    BaggingFusion,
    BoostingFusion,
    DistillClassifier,
    DropoutEnsembleClassifier,
    EnsembleClassifier,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
)
from skfusion.collect import Bootstrap, Seeds
from skfusion.combine import Combiner, EnsembleSelection
from skfusion.nets import mlp_regressor
from skfusion.testing._laws_chance import (
    N_ROWS,
    assert_chance,
    check_random_labels_give_chance,
    memorising_net,
)
from skfusion.tuning import FusionSearch

N_FEWEST = N_ROWS / 10
"""Different rows that are held out in one of two folds."""
SPLIT = ValidSplit(5, stratified=True)
PLAIN = memorising_net()
VALIDATED = memorising_net(train_split=SPLIT)
STOPPED = memorising_net(train_split=ValidSplit(0.3), callbacks=[EarlyStopping(patience=3)])
VALUES = mlp_regressor(max_epochs=30, lr=0.02, batch_size=32, module__hidden=(64,), optimizer__weight_decay=0.0)


def share_held_out(trial):
    return {"validation_fraction": trial.suggest_float("validation_fraction", 0.2, 0.4)}


def folds_of_stack(trial):
    return {"cv": trial.suggest_int("cv", 2, 3)}


class Judging(Combiner):
    """An average that looks at the predictions that it could learn from."""

    needs_labels = True

    def fit(self, P, y, task, sample_weight=None):
        assert_chance((P.mean(axis=0).argmax(axis=1) == y).mean(), N_FEWEST, P.shape[2], "The accuracy")
        return self

    def __call__(self, P):
        return P.mean(axis=0)


class JudgingOutOfFold(Judging):
    """As above, of predictions by members that were not trained on the rows."""

    out_of_fold = True


class JudgingLearner(LogisticRegression):
    """A meta-learner that looks at the predictions of one member that it learns from."""

    def fit(self, X, y, sample_weight=None):
        assert_chance((X.argmax(axis=1) == y).mean(), N_FEWEST, X.shape[1], "The accuracy")
        return super().fit(X, y, sample_weight)


JUDGED = EnsembleClassifier(VALIDATED, collect=Seeds(2), combine=Judging())
SELECTED = EnsembleClassifier(PLAIN, collect=Seeds(2), combine=EnsembleSelection())
STACK = StackingFusion(estimators=[("net", SELECTED), ("near", KNeighborsClassifier(1))], cv=2)
OFTEN = {
    "out of fold": EnsembleClassifier(PLAIN, collect=Seeds(2), combine=JudgingOutOfFold(), cv=3),
    "soup": SoupClassifier(PLAIN, collect=Seeds(2)),
    "bags": BaggingFusion(VALIDATED, n_members=3, oob_score=True),
    "search": FusionSearch(SoupClassifier(PLAIN, collect=Seeds(2)), share_held_out, n_trials=1, cv=2),
}
MORE = {
    "soup of values": SoupRegressor(VALUES, collect=Seeds(2)),
    "soup of bags": SoupClassifier(VALIDATED, collect=Bootstrap(2)),
    "combined": JUDGED,
    "stack of what is combined": StackingFusion(
        estimators=[("one", make_pipeline(StandardScaler(), JUDGED))], cv=2, final_estimator=JudgingLearner()
    ),
    "stack of neighbours": StackingFusion(
        estimators=[("one", KNeighborsClassifier(1))], cv=5, final_estimator=JudgingLearner()
    ),
    "teacher": DistillClassifier(VALIDATED, teacher=JUDGED),
    "stopped": EnsembleClassifier(STOPPED, collect=Seeds(3)),
    "stopped bags": BaggingFusion(STOPPED, n_members=6, oob_score=True),
    "resampled": BoostingFusion(VALIDATED, n_members=3, resample=True),
    "search of a stack": FusionSearch(STACK, folds_of_stack, n_trials=2, cv=3),
    "search of neighbours": FusionSearch(
        KNeighborsClassifier(1), lambda t: {"n_neighbors": t.suggest_int("n", 1, 2)}, n_trials=2, cv=3
    ),
    "search of a pipeline": FusionSearch(
        make_pipeline(StandardScaler(), SELECTED),
        lambda t: {"ensembleclassifier__validation_fraction": t.suggest_float("share", 0.2, 0.4)},
        n_trials=2,
        cv=3,
    ),
}


def discovered():
    """Every public classifier, with a net that learns by heart and validates on a part of its rows."""
    for name in skfusion.__all__:
        cls = getattr(skfusion, name)
        if not (inspect.isclass(cls) and issubclass(cls, BaseEstimator)) or name.endswith("Regressor"):
            continue
        params = inspect.signature(cls).parameters
        net = memorising_net(train_split=SPLIT, module__dropout=0.1 * (cls is DropoutEnsembleClassifier))
        given = {"n_members": 2, "collect": Seeds(2), "n_trees": 20, "max_levels": 2, "cv": 3} if params else {}
        given = {key: value for key, value in given.items() if key in params}
        given |= {"estimator": net} if "estimator" in params else {}
        yield pytest.param(cls(**given), id=name)


@pytest.mark.parametrize("name", OFTEN)
def test_random_labels_give_chance(name):
    check_random_labels_give_chance(OFTEN[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_random_labels_give_chance_in_more_ways(name):
    check_random_labels_give_chance(MORE[name])


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [*discovered()])
def test_random_labels_give_chance_to_every_classifier(estimator):
    check_random_labels_give_chance(estimator)
