"""What is compared on tables: nets and fusions of this library, learners of scikit-learn and of other libraries.

All have their defaults. ``methods()`` is in the order in which they run: what tells most comes first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skfusion import estimators, nets
from skfusion.collect import Seeds

N_MEMBERS = 5


@dataclass(frozen=True)
class Problem:
    """What a method may know before it is fitted: the training rows, the task, a seed and the seconds it may take."""

    X: pd.DataFrame
    classification: bool
    seed: int
    limit: float

    @property
    def categories(self) -> list[str]:
        """Columns of categories."""
        return [c for c in self.X if isinstance(self.X[c].dtype, pd.CategoricalDtype)]

    def of_task(self, classifier, regressor):
        """Return the one for the task."""
        return classifier if self.classification else regressor


# ------------------------------------------------------------------------------------------------------- preparation


def one_hot(problem):
    """Return categories as indicators, and numbers with their medians where they miss, which an indicator says."""
    hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return _columns(problem, hot)


def ordinal(problem):
    """Return the codes of categories as the first columns, and numbers as in ``one_hot``."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    return _columns(problem, codes)


def _columns(problem, encoder):
    categories = problem.categories
    numbers = [c for c in problem.X if c not in categories]
    imputer = SimpleImputer(strategy="median", add_indicator=True)
    return ColumnTransformer([("categories", encoder, categories), ("numbers", imputer, numbers)], sparse_threshold=0)


# ---------------------------------------------------------------------------------------------------------- networks


def perceptron(problem):
    """Return the plain perceptron and the preparation that it needs."""
    return one_hot(problem), problem.of_task(nets.mlp_classifier, nets.mlp_regressor)()


def tabular(problem):
    """Return the default net for tables."""
    return _of_columns(problem, "tabular")


def tabm(problem):
    """Return the network that is an ensemble."""
    return _of_columns(problem, "tabm")


def _of_columns(problem, name):
    make = getattr(nets, problem.of_task(f"{name}_classifier", f"{name}_regressor"))
    categorical = list(range(len(problem.categories)))
    return ordinal(problem), make(**({"module__categorical": categorical} if categorical else {}))


def fusion(kind, net, **parameters):
    """Return the maker of a fusion of networks: ``kind`` as in ``EnsembleClassifier``."""

    def make(problem):
        prepared, network = net(problem)
        cls = getattr(estimators, kind + problem.of_task("Classifier", "Regressor"))
        return make_pipeline(prepared, cls(network, random_state=problem.seed, **parameters))

    return make


def one(net):
    """Return the maker of one network."""
    return fusion("Ensemble", net, collect=Seeds(1))


def ensemble(net):
    """Return the maker of an ensemble."""
    return fusion("Ensemble", net, collect=Seeds(N_MEMBERS))


def boosting(problem):
    """Return gradient boosting over histograms, which takes categories and missing values as they are."""
    kind = problem.of_task(HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    return kind(categorical_features="from_dtype", random_state=problem.seed)


def stack(problem):
    """Return a stack of the net for tables and gradient boosting."""
    members = [("net", make_pipeline(*tabular(problem))), ("boosting", boosting(problem))]
    return estimators.StackingFusion(estimators=members, random_state=problem.seed)


def portfolio(problem):
    """Return the portfolio, which chooses and combines by itself."""
    kind = getattr(estimators, problem.of_task("PortfolioClassifier", "PortfolioRegressor"))
    return kind(time_limit=problem.limit, random_state=problem.seed)


# ------------------------------------------------------------------------------------------------------- scikit-learn


def linear(problem):
    """Return logistic or ridge regression of standardised columns."""
    last = problem.of_task(LogisticRegression(max_iter=1000), Ridge())
    return make_pipeline(one_hot(problem), StandardScaler(), last)


def forest(problem):
    """Return a random forest."""
    last = problem.of_task(RandomForestClassifier, RandomForestRegressor)(random_state=problem.seed)
    return make_pipeline(one_hot(problem), last)


def sklearn_mlp(problem):
    """Return scikit-learn's perceptron of standardised columns, and of standardised targets."""
    net = problem.of_task(MLPClassifier, MLPRegressor)(random_state=problem.seed)
    last = net if problem.classification else TransformedTargetRegressor(net, transformer=StandardScaler())
    return make_pipeline(one_hot(problem), StandardScaler(), last)


# ---------------------------------------------------------------------------------------------------------- the list


@dataclass(frozen=True)
class Method:
    """How the estimator of a problem is made; ``peer`` names the environment of one that another library makes."""

    make: Callable | None
    peer: str | None = None


def methods():
    """Return what this version of the library can run, by name."""
    with_tabm, with_portfolio = hasattr(nets, "tabm_classifier"), hasattr(estimators, "PortfolioClassifier")
    found = {
        "gradient boosting": Method(boosting),
        "linear": Method(linear),
        "perceptron": Method(one(perceptron)),
        "tabular net": Method(one(tabular)),
        "TabM net": Method(one(tabm)) if with_tabm else None,
        "RealMLP-TD (pytabkit)": Method(None, "pytabkit"),
        "random forest": Method(forest),
        "MLP (scikit-learn)": Method(sklearn_mlp),
        "SWA of a tabular net": Method(fusion("WeightAveraging", tabular)),
        "ensemble of 5 tabular nets": Method(ensemble(tabular)),
        "stack of tabular net and boosting": Method(stack),
        "portfolio": Method(portfolio) if with_portfolio else None,
        "AutoGluon medium": Method(None, "autogluon"),
        "soup (default)": Method(fusion("Soup", tabular)),
        "soup of perceptrons": Method(fusion("Soup", perceptron)),
        "SWA of a perceptron": Method(fusion("WeightAveraging", perceptron)),
        "ensemble of 5 perceptrons": Method(ensemble(perceptron)),
        "SWA of a TabM net": Method(fusion("WeightAveraging", tabm)) if with_tabm else None,
        "TabM (pytabkit)": Method(None, "pytabkit"),
        "ensemble of 5 TabM nets": Method(ensemble(tabm)) if with_tabm else None,
    }
    return {name: method for name, method in found.items() if method}


def outputs(model, problem, X):
    """Return the probabilities of all classes, or the values."""
    if not problem.classification:
        return np.asarray(model.predict(X), np.float64).reshape(len(X))
    return np.asarray(model.predict_proba(X), np.float64)
