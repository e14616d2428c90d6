"""Fusions that Optuna tunes: weights of soups, searches over fusions, and proposals for fine-tunes."""

from skfusion.tuning._fusion_search import FusionSearch
from skfusion.tuning._layerwise_soup_weights import LayerwiseSoupWeights
from skfusion.tuning._members import suggest_members
from skfusion.tuning._soup_weights import SoupWeights
from skfusion.tuning._study_proposals import StudyProposals

__all__ = ["FusionSearch", "LayerwiseSoupWeights", "SoupWeights", "StudyProposals", "suggest_members"]
