"""Fusions that Optuna tunes: weights of soups, searches over fusions, and proposals for fine-tunes.

This is the only room that imports optuna. It may import ``estimators`` and all that is below it; ``_study`` and
``_storage`` open studies for all. A merger with tuned weights is a file with one class that calls ``best_weights`` of
``_simplex``; what a search does on a fold stands in ``_candidate``.
"""

from skfusion.tuning._fusion_search import FusionSearch
from skfusion.tuning._layerwise_soup_weights import LayerwiseSoupWeights
from skfusion.tuning._members import suggest_members
from skfusion.tuning._soup_weights import SoupWeights
from skfusion.tuning._study_proposals import StudyProposals

__all__ = ["FusionSearch", "LayerwiseSoupWeights", "SoupWeights", "StudyProposals", "suggest_members"]
