"""Fusions that Optuna tunes: weights of soups, searches over fusions and models to reuse, and proposals of fine-tunes.

This is the only room that imports optuna. It may import ``evaluate``, ``estimators`` and all that is below them.
``_fusion_search`` is the search, ``_candidate`` what it does on a fold, ``_trials`` its trials and their results, and
``_study`` opens studies for all. ``_keep_trials`` keeps what searches train, ``_kept_search`` those of scikit-learn,
and ``_tuned_reuse`` searches for models to reuse, among ``_reuse_candidates``. To add a merger with tuned weights,
write a file with one class that calls ``best_weights`` of ``_soup_weights``, as ``_layerwise_soup_weights`` does.
"""

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
