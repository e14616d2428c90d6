"""Deep model fusion with scikit-learn's interface: one better predictor out of several trained torch networks.

All names of `skfusion.estimators` and a few of other rooms are offered here. The rooms, and which of them may import
which, stand in ``pyproject.toml`` under ``importlinter``. A new estimator is listed in `skfusion.estimators` alone.
"""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skfusion._versions import show_versions as show_versions
    from skfusion.align import rebasin as rebasin
    from skfusion.compare import compare_fusions as compare_fusions
    from skfusion.estimators import *  # noqa: F403
    from skfusion.estimators import out_of_bag as out_of_bag
    from skfusion.estimators import portfolio as portfolio
    from skfusion.forests import DeepForestClassifier as DeepForestClassifier
    from skfusion.forests import DeepForestRegressor as DeepForestRegressor
    from skfusion.forests import NeuralDecisionForestClassifier as NeuralDecisionForestClassifier
    from skfusion.pool import ModelPool as ModelPool
    from skfusion.tuning import KeepTrials as KeepTrials

__version__ = "0.2.0"

_ROOMS = {
    "DeepForestClassifier": "forests",
    "DeepForestRegressor": "forests",
    "KeepTrials": "tuning",
    "ModelPool": "pool",
    "NeuralDecisionForestClassifier": "forests",
    "compare_fusions": "compare",
    "out_of_bag": "estimators",
    "portfolio": "estimators",
    "rebasin": "align",
    "show_versions": "_versions",
}

if os.path.isdir(os.path.join(os.path.dirname(__file__), "fusion")):  # a folder of scikit-fusion, and none of ours
    warnings.warn(
        "Files of the package scikit-fusion lie among those of skfusion, as both are imported by this name, so that "
        "parts of one may be those of the other. Uninstall both, by pip uninstall skfusion scikit-fusion, and install "
        "the one that you want.",
        stacklevel=2,
    )


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for: merging files takes a second to start, and scikit-learn and SciPy take four more.
    if name in _ROOMS:
        return getattr(importlib.import_module(f"skfusion.{_ROOMS[name]}"), name)
    if name == "__all__" or name[:1].isupper():  # other names may be rooms that are not imported yet
        estimators = importlib.import_module("skfusion.estimators")
        if name == "__all__":
            return sorted([*_ROOMS, *estimators.__all__])
        if name in estimators.__all__:
            return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
