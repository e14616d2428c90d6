"""Forests that predict by themselves: cascades of forests, and trees through which a network routes samples.

``_deep_forest``, ``_layer`` and ``_scan`` make deep forests (gcForest) of scikit-learn's forests; ``_routing`` has the
trees of the neural decision forest. This room imports ``data``, ``nets`` and what is below, and knows no
estimator that fuses a pool. A new forest is a file with one class that ends in ``Classifier`` or ``Regressor``, whose
rows come from ``_checked``.
"""

from skfusion.forests._deep_forest import DeepForestClassifier, DeepForestRegressor
from skfusion.forests._neural_decision_forest import NeuralDecisionForestClassifier
from skfusion.forests._scan import MultiGrainedScan

__all__ = ["DeepForestClassifier", "DeepForestRegressor", "MultiGrainedScan", "NeuralDecisionForestClassifier"]
