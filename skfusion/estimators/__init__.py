"""Estimators: one for each way to predict, and recipes that name a well-known fusion."""

from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators._soup import SoupClassifier, SoupRegressor

__all__ = ["EnsembleClassifier", "EnsembleRegressor", "SoupClassifier", "SoupRegressor"]
