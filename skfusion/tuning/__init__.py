"""Fusions that Optuna tunes: weights of soups, searches over fusions and models to reuse, and proposals of fine-tunes.

This is the only room that imports optuna. It may import ``evaluate``, ``estimators`` and all that is below them.
``_fusion_search`` is the search, ``_candidate`` what it does on a fold, ``_trials`` its trials and their results, and
``_study`` opens studies for all. ``_keep_trials`` keeps what searches train, ``_kept_search`` those of scikit-learn,
and ``_tuned_reuse`` searches for models to reuse, among ``_reuse_candidates``. To add a merger with tuned weights,
write a file with one class that calls ``best_weights`` of ``_soup_weights``, as ``_layerwise_soup_weights`` does, and
name it below, thrice. Names are looked up when they are asked for: ``KeepTrials``, which the package offers too, works
without Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skfusion.tuning._fusion_search import FusionSearch
    from skfusion.tuning._keep_trials import KeepTrials
    from skfusion.tuning._layerwise_soup_weights import LayerwiseSoupWeights
    from skfusion.tuning._soup_weights import SoupWeights
    from skfusion.tuning._study_proposals import StudyProposals
    from skfusion.tuning._trials import suggest_members
    from skfusion.tuning._tuned_reuse import TunedReuse

__all__ = [
    "FusionSearch",
    "KeepTrials",
    "LayerwiseSoupWeights",
    "SoupWeights",
    "StudyProposals",
    "TunedReuse",
    "suggest_members",
]

_FILES = {
    "FusionSearch": "_fusion_search",
    "KeepTrials": "_keep_trials",
    "LayerwiseSoupWeights": "_layerwise_soup_weights",
    "SoupWeights": "_soup_weights",
    "StudyProposals": "_study_proposals",
    "TunedReuse": "_tuned_reuse",
    "suggest_members": "_trials",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "optuna":
            raise
        raise ModuleNotFoundError(f"{__name__}.{name} needs Optuna: pip install optuna", name="optuna") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
