"""Forests that are their own predictor: cascades of forests, and trees that a network routes through."""

from skfusion.forests._deep_forest import DeepForestClassifier
from skfusion.forests._deep_forest_regressor import DeepForestRegressor
from skfusion.forests._neural_decision_forest import NeuralDecisionForestClassifier
from skfusion.forests._scan import MultiGrainedScan

__all__ = ["DeepForestClassifier", "DeepForestRegressor", "MultiGrainedScan", "NeuralDecisionForestClassifier"]
