"""Scorers by name: those of scikit-learn, and those that it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer as scorer_of_sklearn
from sklearn.metrics import get_scorer_names

from skfusion.data._calibration import brier_score, codes_and_columns, expected_calibration_error


class ProbabilityScorer:
    """The negative loss of class probabilities, called as scikit-learn's scorers are.

    It knows the classes of the estimator also where the rows lack some. Of labels that do not exclude each other, it is
    that over all labels.
    """

    def __init__(self, name: str, loss: Callable[..., float]):
        self.name, self.loss = name, loss

    def __call__(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        codes, proba = codes_and_columns(estimator, estimator.predict_proba(X), y)
        if sample_weight is not None:
            sample_weight = np.repeat(np.asarray(sample_weight), len(codes) // len(sample_weight))
        return -self.loss(codes, proba, sample_weight=sample_weight)

    def __repr__(self) -> str:
        return f"get_scorer({self.name!r})"


# scikit-learn's neg_brier_score asks which of two classes is the positive one where they are texts.
SCORERS = {
    name: ProbabilityScorer(name, loss)
    for name, loss in {"neg_ece": expected_calibration_error, "neg_brier_score": brier_score}.items()
}
"""Scorers by name that scikit-learn does not have, or not for all labels."""


def get_scorer(name: str) -> Any:
    """Return a scorer by its name, as scikit-learn's function of this name does, which does not know all of them.

    Parameters
    ----------
    name : str
        Of a scorer of scikit-learn, or ``"neg_ece"``, the negative :func:`expected_calibration_error` over 15 bins.
        ``"neg_brier_score"`` is that of scikit-learn, and also takes two classes that are texts, and multi-label
        problems.

    Returns
    -------
    callable
        ``scorer(estimator, X, y, sample_weight=None)``, higher is better; it can be the ``scoring`` of
        ``cross_validate`` and ``GridSearchCV``, too.

    Raises
    ------
    ValueError
        If there is no such scorer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from skfusion.compare import get_scorer
    >>> model = LogisticRegression(max_iter=500)
    >>> scores = cross_val_score(model, *load_iris(return_X_y=True), scoring=get_scorer("neg_ece"))
    >>> bool((-0.2 < scores).all() and (scores < 0).all())
    True
    """
    if name not in scorer_names():
        meant = [known for known in scorer_names() if known == f"neg_{name}" or known.startswith(f"neg_{name}_")]
        hint = f"; {meant[0]!r} may be meant" if meant else ""
        raise ValueError(
            f"{name!r} is not a valid scoring value{hint}. Take 'neg_ece' or one of sklearn.metrics.get_scorer_names()."
        )
    return SCORERS[name] if name in SCORERS else scorer_of_sklearn(name)


def scorer_names() -> list[str]:
    """Return the names that :func:`get_scorer` knows."""
    return [*dict.fromkeys([*get_scorer_names(), *SCORERS])]


def scorer_named(scoring: Any) -> Any:
    """Return the scorer that has a name; a callable is one by itself."""
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if not callable(scorer):
        raise TypeError(f"scoring must be the name of a scorer or scorer(estimator, X, y); got {scoring!r}.")
    return scorer
