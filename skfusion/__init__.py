"""Deep model fusion with scikit-learn's interface: one better predictor out of several trained torch networks."""

from skfusion.align import rebasin
from skfusion.compare import compare_fusions
from skfusion.estimators import (
    EnsembleClassifier,
    EnsembleRegressor,
    ReBasinMerger,
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    WeightAveragingClassifier,
    WeightAveragingRegressor,
)
from skfusion.pool import ModelPool

__version__ = "0.1.0"

__all__ = [
    "EnsembleClassifier",
    "EnsembleRegressor",
    "ModelPool",
    "ReBasinMerger",
    "SnapshotEnsembleClassifier",
    "SnapshotEnsembleRegressor",
    "SoupClassifier",
    "SoupRegressor",
    "StackingFusion",
    "WeightAveragingClassifier",
    "WeightAveragingRegressor",
    "compare_fusions",
    "rebasin",
]
