"""Estimators, one for each way to predict, and recipes and students, which name a well-known method.

The drivers of soups, ensembles and curves are in this room, `recipes` has the named fusions, `students` the networks
that learn from more than labels, `federated` those of clients whose rows stay with them, `reuse` what reuses models of
others, `serving` fitted estimators as modules and ONNX files, and `support` what several of these use. It may import
`collect`, `combine`, `forests`, `reuse` and all rooms below these. A new estimator is listed here alone, as `skfusion`
offers what this room offers.
"""

from skfusion.estimators._base import BaseFusion
from skfusion.estimators._curve import CurveClassifier, CurveRegressor
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._soup import SoupClassifier, SoupRegressor
from skfusion.estimators._stacking import StackingFusion
from skfusion.estimators._subspace import SubspaceClassifier, SubspaceRegressor
from skfusion.estimators.federated._federated import FederatedClassifier, FederatedRegressor
from skfusion.estimators.recipes._bagging import BaggingFusion
from skfusion.estimators.recipes._boosting import BoostingFusion
from skfusion.estimators.recipes._dropout_ensemble import DropoutEnsembleClassifier, DropoutEnsembleRegressor
from skfusion.estimators.recipes._ensemble_of_averages import EnsembleOfAveragesClassifier, EnsembleOfAveragesRegressor
from skfusion.estimators.recipes._fast_geometric_ensemble import (
    FastGeometricEnsembleClassifier,
    FastGeometricEnsembleRegressor,
)
from skfusion.estimators.recipes._portfolio import PortfolioClassifier, PortfolioRegressor, portfolio
from skfusion.estimators.recipes._rebasin_merger import ReBasinMerger
from skfusion.estimators.recipes._snapshot_ensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skfusion.estimators.recipes._weight_averaging import WeightAveragingClassifier, WeightAveragingRegressor
from skfusion.estimators.reuse._model_reuse import ModelReuseClassifier, ModelReuseRegressor
from skfusion.estimators.students._distillation import DistillClassifier, DistillRegressor
from skfusion.estimators.students._semi_supervised import (
    PiModelClassifier,
    SemiSupervised,
    TemporalEnsemblingClassifier,
)
from skfusion.estimators.support._far_below import FarBelowWarning
from skfusion.estimators.support._out_of_bag import out_of_bag

__all__ = [
    "BaggingFusion",
    "BoostingFusion",
    "CurveClassifier",
    "CurveRegressor",
    "DistillClassifier",
    "DistillRegressor",
    "DropoutEnsembleClassifier",
    "DropoutEnsembleRegressor",
    "EnsembleClassifier",
    "EnsembleOfAveragesClassifier",
    "EnsembleOfAveragesRegressor",
    "EnsembleRegressor",
    "FastGeometricEnsembleClassifier",
    "FastGeometricEnsembleRegressor",
    "FederatedClassifier",
    "FederatedRegressor",
    "ModelReuseClassifier",
    "ModelReuseRegressor",
    "PiModelClassifier",
    "PortfolioClassifier",
    "PortfolioRegressor",
    "ReBasinMerger",
    "SnapshotEnsembleClassifier",
    "SnapshotEnsembleRegressor",
    "SoupClassifier",
    "SoupRegressor",
    "StackingFusion",
    "SubspaceClassifier",
    "SubspaceRegressor",
    "TemporalEnsemblingClassifier",
    "WeightAveragingClassifier",
    "WeightAveragingRegressor",
]
