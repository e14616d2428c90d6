"""Deep model fusion with scikit-learn's interface: one better predictor out of several trained torch networks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skfusion.align import rebasin
    from skfusion.compare import compare_fusions
    from skfusion.estimators import (
        CurveClassifier,
        CurveRegressor,
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
    "CurveClassifier",
    "CurveRegressor",
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

_HOMES = {
    "ModelPool": "skfusion.pool",
    "compare_fusions": "skfusion.compare",
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
