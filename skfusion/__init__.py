"""Deep model fusion with scikit-learn's interface: one better predictor out of several trained torch networks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skfusion.align import rebasin
    from skfusion.compare import compare_fusions
    from skfusion.estimators import (
        BaggingFusion,
        BoostingFusion,
        CurveClassifier,
        CurveRegressor,
        DistillClassifier,
        DistillRegressor,
        DropoutEnsembleClassifier,
        DropoutEnsembleRegressor,
        EnsembleClassifier,
        EnsembleOfAveragesClassifier,
        EnsembleOfAveragesRegressor,
        EnsembleRegressor,
        FastGeometricEnsembleClassifier,
        FastGeometricEnsembleRegressor,
        PiModelClassifier,
        ReBasinMerger,
        SnapshotEnsembleClassifier,
        SnapshotEnsembleRegressor,
        SoupClassifier,
        SoupRegressor,
        StackingFusion,
        TemporalEnsemblingClassifier,
        WeightAveragingClassifier,
        WeightAveragingRegressor,
    )
    from skfusion.estimators.support._out_of_bag import out_of_bag
    from skfusion.forests import DeepForestClassifier, DeepForestRegressor, NeuralDecisionForestClassifier
    from skfusion.pool import ModelPool

__version__ = "0.1.0"

__all__ = [
    "BaggingFusion",
    "BoostingFusion",
    "CurveClassifier",
    "CurveRegressor",
    "DeepForestClassifier",
    "DeepForestRegressor",
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
    "ModelPool",
    "NeuralDecisionForestClassifier",
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
    "compare_fusions",
    "out_of_bag",
    "rebasin",
]

_HOMES = {
    "DeepForestClassifier": "skfusion.forests",
    "DeepForestRegressor": "skfusion.forests",
    "ModelPool": "skfusion.pool",
    "NeuralDecisionForestClassifier": "skfusion.forests",
    "compare_fusions": "skfusion.compare",
    "out_of_bag": "skfusion.estimators.support._out_of_bag",
    "rebasin": "skfusion.align",
}
"""What does not come from ``skfusion.estimators``."""


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for: merging files takes a second to start, and scikit-learn and SciPy take four more.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "skfusion.estimators")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
