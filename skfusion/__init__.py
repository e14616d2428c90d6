"""Deep model fusion with scikit-learn's interface: one better predictor out of several trained torch networks."""

from skfusion.estimators import EnsembleClassifier, EnsembleRegressor, SoupClassifier, SoupRegressor
from skfusion.pool import ModelPool

__version__ = "0.1.0"

__all__ = ["EnsembleClassifier", "EnsembleRegressor", "ModelPool", "SoupClassifier", "SoupRegressor"]
