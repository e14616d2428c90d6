"""scikit-learn's own checks for every estimator and recipe."""

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import check_estimator
from sklearn_checks import cases
from small_nets import small_nets

import skfusion
from skfusion import (
    EnsembleClassifier,
    EnsembleOfAveragesClassifier,
    EnsembleRegressor,
    PortfolioClassifier,
    PortfolioRegressor,
    ReBasinMerger,
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.average import EMA, LowPrecision, PowerEMA
from skfusion.collect import HWA, PAPA, SWAG, Bootstrap, MultiSWAG, PowerSnapshots, Seeds, Snapshots, Tail
from skfusion.combine import EnsembleSelection, Stack, Vote
from skfusion.merge import TWA, DecayMerge, PostHocEMA, Uniform
from skfusion.select import TopK

classifier, regressor = small_nets(module__hidden=(16,), lr=0.02, max_epochs=15)


ESTIMATORS = {
    "soup-classifier": SoupClassifier(classifier(), collect=Seeds(2)),
    "soup-regressor": SoupRegressor(regressor(), collect=Seeds(2)),
    "ensemble-classifier": EnsembleClassifier(classifier(), collect=Seeds(2)),
    "ensemble-regressor": EnsembleRegressor(regressor(), collect=Seeds(2)),
    "averaging-classifier": WeightAveragingClassifier(classifier()),
    "averaging-regressor": WeightAveragingRegressor(regressor()),
    "snapshot-classifier": SnapshotEnsembleClassifier(classifier(), n_cycles=2),
    "snapshot-regressor": SnapshotEnsembleRegressor(regressor(), n_cycles=2),
    "stacking-classifier": StackingFusion(classifier(), n_members=2, cv=2),
    "stacking-regressor": StackingFusion(regressor(), n_members=2, cv=2),
    "stacking-others": StackingFusion(
        estimators=[("linear", LogisticRegression()), ("near", KNeighborsClassifier(3))], cv=2
    ),
    "stacking-mixed": StackingFusion(estimators=[("ridge", Ridge()), ("net", regressor())], cv=2),
    "stacking-selection": StackingFusion(
        estimators=[("linear", LogisticRegression()), ("net", classifier())], combine=EnsembleSelection(), cv=2
    ),
    "portfolio-classifier": PortfolioClassifier(n_members=1, cv=2),
    "portfolio-regressor": PortfolioRegressor(n_members=1, cv=2),
    "soup-multilabel": SoupClassifier(classifier(multilabel=True), collect=Seeds(2)),
    "soup-batchnorm": SoupClassifier(classifier(module__norm="batch"), collect=Snapshots(3), merge=Uniform()),
    "soup-dropout": SoupClassifier(classifier(module__dropout=0.2), collect=Tail(0.5), select=TopK(2)),
    "soup-regressor-batchnorm": SoupRegressor(regressor(module__norm="batch"), collect=Tail(0.5), merge=Uniform()),
    "bagging-vote": EnsembleClassifier(classifier(module__norm="batch"), collect=Bootstrap(2), combine=Vote()),
    "ensemble-stack": EnsembleClassifier(classifier(), collect=Seeds(2), combine=Stack(), cv=2),
    "ensemble-top": EnsembleClassifier(classifier(), collect=Seeds(3), select=TopK(2), scoring="accuracy"),
    "ensemble-swag": EnsembleClassifier(classifier(module__norm="batch"), collect=SWAG(3)),
    "ensemble-multi-swag": EnsembleRegressor(regressor(), collect=MultiSWAG(2, 2)),
    "averaging-ema": WeightAveragingClassifier(classifier(module__norm="batch"), average=EMA(0.9, warm_up=True)),
    "averaging-low-precision": WeightAveragingRegressor(regressor(), average=LowPrecision(0.5)),
    "averages-power": EnsembleOfAveragesClassifier(classifier(), n_members=2, average=PowerEMA(0.1)),
    "soup-post-hoc": SoupClassifier(classifier(), collect=PowerSnapshots(n=5), merge=PostHocEMA(0.15)),
    "soup-decay": SoupRegressor(regressor(), collect=Tail(0.5), merge=DecayMerge("1-sqrt")),
    "soup-twa": SoupRegressor(regressor(module__norm="batch"), collect=Tail(0.5), merge=TWA(2)),
    "soup-papa": SoupClassifier(classifier(), collect=PAPA(2), merge=Uniform()),
    "ensemble-hwa": EnsembleRegressor(regressor(), collect=HWA(2, last=2)),
    "bagging-dropout": EnsembleRegressor(regressor(module__dropout=0.1), collect=Bootstrap(2)),
    "rebasin-classifier": ReBasinMerger(classifier(), n_points=3),
    "rebasin-regressor": ReBasinMerger(regressor(module__norm="batch"), align="activations", n_points=0),
    "ensemble-regressor-stack": EnsembleRegressor(regressor(), collect=Seeds(2), combine=Stack(), cv=2),
}


DRIVERS = {"soup-classifier", "ensemble-regressor", "stacking-classifier"}


@pytest.mark.filterwarnings("ignore:Classes of fewer different rows than the 2 folds")  # some checks have such
@pytest.mark.parametrize(("estimator", "check"), list(cases(ESTIMATORS, DRIVERS)))
def test_estimator_keeps_to_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Classes of fewer different rows than the 2 folds")
@pytest.mark.filterwarnings("ignore:All labels are -1 or 1:UserWarning")  # scikit-learn calls two classes so
@pytest.mark.parametrize("name", sorted(skfusion.estimators.__all__))
def test_check_estimator_itself_passes_for_the_defaults(name):
    # its defaults train 5 * 6 full networks a fit
    fewer = {"estimator": classifier(), "n_members": 2, "cv": 2} if name == "StackingFusion" else {}
    fewer = {"n_members": 2, "cv": 2} if name.startswith("Portfolio") else fewer
    check_estimator(getattr(skfusion, name)(**fewer), on_fail="raise", on_skip=None)
