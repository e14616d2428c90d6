"""Estimators: one for each way to predict, and recipes that name a well-known fusion."""

from skfusion.estimators._base import BaseFusion
from skfusion.estimators._curve import CurveClassifier, CurveRegressor
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._soup import SoupClassifier, SoupRegressor
from skfusion.estimators._stacking import StackingFusion
from skfusion.estimators.recipes._bagging import BaggingFusion
from skfusion.estimators.recipes._boosting import BoostingFusion
from skfusion.estimators.recipes._dropout_ensemble import DropoutEnsembleClassifier, DropoutEnsembleRegressor
from skfusion.estimators.recipes._ensemble_of_averages import EnsembleOfAveragesClassifier, EnsembleOfAveragesRegressor
from skfusion.estimators.recipes._fast_geometric_ensemble import (
    FastGeometricEnsembleClassifier,
    FastGeometricEnsembleRegressor,
)
from skfusion.estimators.recipes._rebasin_merger import ReBasinMerger
from skfusion.estimators.recipes._weight_averaging import (
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.estimators.students._distillation import DistillClassifier, DistillRegressor
from skfusion.estimators.students._half_labelled import SemiSupervised
from skfusion.estimators.students._semi_supervised import PiModelClassifier, TemporalEnsemblingClassifier

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
    "PiModelClassifier",
    "ReBasinMerger",
    "SnapshotEnsembleClassifier",
    "SnapshotEnsembleRegressor",
    "SoupClassifier",
    "SoupRegressor",
    "StackingFusion",
    "TemporalEnsemblingClassifier",
    "WeightAveragingClassifier",
    "WeightAveragingRegressor",
]
