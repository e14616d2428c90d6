"""Estimators: one for each way to predict, and recipes that name a well-known fusion."""

from skfusion.estimators._bagging import BaggingFusion
from skfusion.estimators._boosting import BoostingFusion
from skfusion.estimators._curve import CurveClassifier, CurveRegressor
from skfusion.estimators._distillation import DistillClassifier, DistillRegressor
from skfusion.estimators._dropout import DropoutEnsembleClassifier, DropoutEnsembleRegressor
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._rebasin import ReBasinMerger
from skfusion.estimators._recipes import (
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.estimators._recipes_averages import EnsembleOfAveragesClassifier, EnsembleOfAveragesRegressor
from skfusion.estimators._recipes_fast_geometric import FastGeometricEnsembleClassifier, FastGeometricEnsembleRegressor
from skfusion.estimators._semi_supervised import PiModelClassifier, TemporalEnsemblingClassifier
from skfusion.estimators._soup import SoupClassifier, SoupRegressor
from skfusion.estimators._stacking import StackingFusion

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
