"""Estimators: one for each way to predict, and recipes that name a well-known fusion."""

from skfusion.estimators._curve import CurveClassifier, CurveRegressor
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._rebasin import ReBasinMerger
from skfusion.estimators._recipes import (
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.estimators._soup import SoupClassifier, SoupRegressor
from skfusion.estimators._stacking import StackingFusion

__all__ = [
    "CurveClassifier",
    "CurveRegressor",
    "EnsembleClassifier",
    "EnsembleRegressor",
    "ReBasinMerger",
    "SnapshotEnsembleClassifier",
    "SnapshotEnsembleRegressor",
    "SoupClassifier",
    "SoupRegressor",
    "StackingFusion",
    "WeightAveragingClassifier",
    "WeightAveragingRegressor",
]
