"""What is compared: estimators by their names, words that stand for some, and their task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

from skfusion.estimators import PortfolioClassifier, PortfolioRegressor

WORDS = {"portfolio": (PortfolioClassifier, PortfolioRegressor)}
"""What stands for an estimator, and its classes for both tasks."""

MAX_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken as classes, where no estimator says what they are."""


def named(fusions: Any) -> dict[str, Any]:
    """Return estimators, and words, by the names of their rows."""
    if isinstance(fusions, str):
        fusions = {fusions: fusions}
    if not isinstance(fusions, Iterable) or hasattr(fusions, "fit"):  # pipelines and bags can be iterated over
        raise _no_fusions(fusions)
    pairs = list(fusions.items()) if isinstance(fusions, Mapping) else list(fusions)
    if not pairs:
        raise ValueError("There is nothing to compare: give at least one fusion.")
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise _no_fusions(fusions, pair)
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Each fusion needs its own name; these occur more than once: {twice}.")
    for name, estimator in pairs:
        if isinstance(estimator, str):
            if estimator not in WORDS:
                raise ValueError(
                    f"Fusion {name!r} is the word {estimator!r}, and the only word that stands for a fusion is "
                    f'"portfolio". Baselines are given by baselines=["boosting"], and others as estimators: '
                    f'{{"soup": SoupClassifier()}}.'
                )
        elif isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
            raise TypeError(f"Fusion {name!r} must be a scikit-learn estimator (not a class); got {estimator!r}.")
    return dict(pairs)


def _no_fusions(given: Any, pair: Any = None) -> TypeError:
    """Return an error that says what is taken, and what is given instead."""
    got = type(given).__name__
    if pair is not None:
        got += f" with the name {pair[0]!r}" if isinstance(given, Mapping) else f" with a {type(pair).__name__} in it"
    return TypeError(
        'fusions must be a dict from names to estimators, such as {"soup": SoupClassifier(), "all": "portfolio"}, '
        f'(name, estimator) pairs, or the word "portfolio"; got {got}.'
    )


def is_classification(fusions: Mapping[str, Any], y: Any) -> bool:
    """Return whether the estimators are classifiers; where there are words only, whether the targets are classes."""
    kinds = {
        name: "classifier" if is_classifier(e) else "regressor" if is_regressor(e) else "neither"
        for name, e in fusions.items()
        if not isinstance(e, str)
    }
    if len(set(kinds.values())) > 1 or "neither" in kinds.values():
        raise ValueError(f"Compare either classifiers or regressors; got {kinds}.")
    return "classifier" in kinds.values() if kinds else _are_classes(np.asarray(y))


def spelt_out(fusions: Mapping[str, Any], classify: bool) -> dict[str, Any]:
    """Return the fusions with estimators in the place of words, which draw from the comparison's seed."""
    return {name: WORDS[e][not classify]() if isinstance(e, str) else e for name, e in fusions.items()}


def _are_classes(y: np.ndarray) -> bool:
    if y.dtype.kind not in "iuf":
        return True
    y = y[np.isfinite(y)]  # others are refused, whatever the task
    return bool((y == np.round(y)).all()) and len(np.unique(y)) <= MAX_CLASSES
