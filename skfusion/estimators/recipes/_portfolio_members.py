"""Configurations of networks, trees and linear models for tables, from which a portfolio is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline

from skfusion.collect import Seeds
from skfusion.data import TableColumns
from skfusion.estimators._ensemble import EnsembleClassifier, EnsembleRegressor
from skfusion.estimators.recipes._weight_averaging import WeightAveragingClassifier, WeightAveragingRegressor
from skfusion.nets import tabular_classifier, tabular_regressor


@dataclass(frozen=True)
class Builder:
    """Builds estimators for a task, each with the preparation that it needs of the columns of a table."""

    classify: bool
    columns: TableColumns

    def net(self, **params: Any) -> Any:
        """Return a network for tables, without preparation."""
        categorical = list(range(len(self.columns.categories)))
        kind = tabular_classifier if self.classify else tabular_regressor
        return kind(module__categorical=categorical, **params)

    def one(self, **params: Any) -> Pipeline:
        """Return a network."""
        return self._numeric(self.net(**params))

    def averaged(self, **params: Any) -> Pipeline:
        """Return the mean weights of the last epochs of a network."""
        kind = WeightAveragingClassifier if self.classify else WeightAveragingRegressor
        return self._numeric(kind(self.net(**params)))

    def many(self, n_members: int = 4, **params: Any) -> Pipeline:
        """Return the average of networks of different seeds."""
        kind = EnsembleClassifier if self.classify else EnsembleRegressor
        return self._numeric(kind(self.net(**params), collect=Seeds(n_members)))

    def boosting(self, **params: Any) -> Pipeline:
        """Return histogram gradient boosting, on all rows: its early stopping fails for a class of one row."""
        kind = HistGradientBoostingClassifier if self.classify else HistGradientBoostingRegressor
        categorical = list(range(len(self.columns.categories)))
        last = kind(categorical_features=categorical, early_stopping=False, **params)
        return make_pipeline(self.columns.coded(impute=False), last)

    def forest(self, extra: bool = False, **params: Any) -> Pipeline:
        """Return a random forest, or extremely randomised trees."""
        classifier, regressor = (
            (ExtraTreesClassifier, ExtraTreesRegressor) if extra else (RandomForestClassifier, RandomForestRegressor)
        )
        kind = classifier if self.classify else regressor
        return make_pipeline(self.columns.coded(impute=False), kind(n_estimators=200, **params))

    def linear(self, n_knots: int = 0) -> Pipeline:
        """Return a linear model, also of splines of the numbers."""
        model = LogisticRegression(max_iter=1000) if self.classify else RidgeCV([0.01, 0.1, 1, 10, 100])
        return make_pipeline(self.columns.indicated(n_knots), model)

    def neighbors(self, n_neighbors: int) -> Pipeline:
        """Return the nearest neighbours, weighted by distance."""
        kind = KNeighborsClassifier if self.classify else KNeighborsRegressor
        return make_pipeline(self.columns.indicated(), kind(n_neighbors, weights="distance"))

    def _numeric(self, last: Any) -> Pipeline:
        return make_pipeline(self.columns.coded(impute=True), last)


CONFIGURATIONS: dict[str, Callable[[Builder], Pipeline]] = {
    "net": lambda b: b.one(),
    "net-wide": lambda b: b.one(module__hidden=(384, 384)),
    "net-deep": lambda b: b.one(module__hidden=(128, 128, 128, 128)),
    "net-dropout": lambda b: b.one(module__hidden=(256, 256), module__dropout=0.3),
    "net-slow": lambda b: b.one(lr=0.001, max_epochs=80),
    "net-stopped": lambda b: b.one(early_stopping=True, max_epochs=80),
    "net-swa": lambda b: b.averaged(),
    "net-wide-swa": lambda b: b.averaged(module__hidden=(256, 256), module__dropout=0.2),
    "nets": lambda b: b.many(),
    "nets-wide": lambda b: b.many(module__hidden=(256, 256), module__dropout=0.2),
    "nets-small": lambda b: b.many(module__hidden=(64,), lr=0.006),
    "boosting": lambda b: b.boosting(),
    "boosting-slow": lambda b: b.boosting(learning_rate=0.03, max_iter=400, max_leaf_nodes=16),
    "boosting-small": lambda b: b.boosting(max_leaf_nodes=6, max_iter=300, max_features=0.5, l2_regularization=1.0),
    "boosting-large": lambda b: b.boosting(
        learning_rate=0.05, max_iter=200, max_leaf_nodes=127, min_samples_leaf=5, max_features=0.3
    ),
    "boosting-short": lambda b: b.boosting(max_iter=40, max_leaf_nodes=8),
    "forest": lambda b: b.forest(),
    "forest-smooth": lambda b: b.forest(min_samples_leaf=5, max_features=0.4),
    "extra-trees": lambda b: b.forest(extra=True),
    "extra-trees-smooth": lambda b: b.forest(extra=True, min_samples_leaf=3, max_features=0.6),
    "linear": lambda b: b.linear(),
    "splines": lambda b: b.linear(n_knots=6),
    "neighbors": lambda b: b.neighbors(15),
}
"""All candidates, of which `benchmarks/portfolio.py` chooses."""
