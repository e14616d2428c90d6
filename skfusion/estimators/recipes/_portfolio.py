"""A zero-shot portfolio: configurations that were chosen on other tables, fitted and combined (TabRepo, 2024)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, column_or_1d

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._readable import HasParts
from skfusion._rows import Rows
from skfusion.combine import Combiner, EnsembleSelection
from skfusion.data import TableColumns
from skfusion.estimators._stack_driver import StackDriver
from skfusion.estimators.recipes._portfolio_members import CONFIGURATIONS, Builder
from skfusion.estimators.support._any_estimator import repeats

PORTFOLIO = (
    "boosting-short",
    "boosting-small",
    "extra-trees",
    "net-slow",
    "linear",
    "extra-trees-smooth",
    "boosting-slow",
    "boosting-large",
    "nets-small",
    "net-deep",
    "net-wide",
    "forest-smooth",
)
"""Names of configurations, in the order in which `benchmarks/portfolio.py` has chosen them."""


def portfolio(X: Any, task: str = "classification") -> list[tuple[str, Pipeline]]:
    """Return the configurations of a zero-shot portfolio, each with the preparation that a table needs.

    They are networks, boosted trees, forests and linear models, in the order in which a greedy choice on development
    tables took them: each time the one that most improved, for the time that it takes, what ensemble selection made of
    those before it.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_columns)
        The table. Columns of numbers or dates are numbers, others are categories; only their types are read. Missing
        values, and categories that are new in prediction, are allowed.
    task : {"classification", "regression"}, default="classification"
        What is predicted.

    Returns
    -------
    list of (str, Pipeline)
        Unfitted members, as :class:`StackingFusion` takes them.

    References
    ----------
    Salinas and Erickson, "TabRepo: a large scale repository of tabular model evaluations and its AutoML applications",
    AutoML 2024, arXiv:2311.02971.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import StackingFusion, portfolio
    >>> from skfusion.combine import EnsembleSelection
    >>> X, y = load_iris(return_X_y=True)
    >>> stack = StackingFusion(estimators=portfolio(X)[:2], combine=EnsembleSelection(), random_state=0)
    >>> stack.fit(X, y).score(X, y) > 0.9
    True
    """
    if task not in ("classification", "regression"):
        raise ValueError(f"task must be 'classification' or 'regression'; got {task!r}.")
    builder = Builder(task == "classification", TableColumns.of(X))
    return [(name, CONFIGURATIONS[name](builder)) for name in PORTFOLIO]


CLASS_WEIGHT = """\
class_weight : dict or "balanced", optional
    What a row of each class counts for in the losses of networks, by label, and for other members as weights of rows;
    see :class:`EnsembleClassifier`. All rows count alike when omitted.
"""


@template
@dataclass(eq=False, repr=False)
class _Portfolio(StackDriver, HasParts, BaseEstimator):
    """{Predict} by networks, boosted trees, forests and linear models together (a zero-shot portfolio).

    It stands for ``StackingFusion(estimators=portfolio(X), combine=EnsembleSelection())``: nothing is tuned, as the
    configurations, and their order, were chosen on other tables; see :func:`~skfusion.portfolio`. X is a table as it
    comes, with missing values, dates and columns of categories.

    Parameters
    ----------
    n_members : int, default=12
        How many configurations of the portfolio are fitted, the first ones; all when there are fewer.
    combine : Combiner, optional
        How to combine predictions, learned from those out of fold; ``EnsembleSelection()`` (Caruana) when omitted.
    cv : int, splitter or iterable, default=5
        Folds for the out-of-fold predictions. A number shuffles, and keeps equal rows, and those of a group, in one
        fold.
    time_limit : float, optional
        Seconds after which no fit begins. One that has begun is finished. Members that are not fitted on all folds and
        all rows by then are left out, with a warning, but the first is always trained. No limit when omitted.
    {n_jobs}
    {random_state}
    {class_weight}

    Attributes
    ----------
    estimators_ : list of Pipeline
        The members that are combined, fitted on all rows; those that the combiner gives no weight are not among them.
    named_estimators_ : dict
        The same by name.
    combine_ : Combiner
        The fitted combiner, of these members.
    member_weights_ : dict or None
        The weight of each finished member by name, of sum one, zeros too; None where they have none.
    left_out_ : dict
        Why members are left out, by name: an error in one of their fits, or ``"time_limit"``.
    pool_ : None
        Not all members are networks.
    {classes_}

    Notes
    -----
    Costs a fit of each member on all rows and one a fold; prediction costs the members that have weights.

    References
    ----------
    Salinas and Erickson, "TabRepo: a large scale repository of tabular model evaluations and its AutoML applications",
    AutoML 2024, arXiv:2311.02971. Caruana et al., "Ensemble selection from libraries of models", ICML 2004,
    doi:10.1145/1015330.1015432.

    Examples
    --------
    >>> from sklearn.datasets import {load}
    >>> from skfusion import {name}
    >>> X, y = {load}(return_X_y=True)
    >>> {name}(n_members=2, cv=3, random_state=0).fit(X, y).score(X, y) > {least}
    True
    """

    _: KW_ONLY
    n_members: int = 12
    combine: Any = None
    cv: Any = 5
    time_limit: float | None = None
    n_jobs: int | None = None
    random_state: Any = None

    def _listed(self, X: Any) -> list[tuple[str, Any]]:
        if not isinstance(self.n_members, Integral) or self.n_members < 1:
            raise ValueError(f"n_members must be at least 1; got {self.n_members!r}. It is a whole number.")
        return portfolio(X, "classification" if self._is_classifier() else "regression")[: self.n_members]

    def _new_combiner(self) -> Combiner:
        return EnsembleSelection() if self.combine is None else clone(self.combine, safe=False)

    def _checked(self, X: Any, y: Any, sample_weight: Any, groups: Any, classes: Any) -> Rows:
        if not self._is_classifier() and np.asarray(y).shape[1:] == (1,):
            y = column_or_1d(y, warn=True)
        rows = super()._checked(X, y, sample_weight, groups, classes)
        if self._task == "multilabel" or (self._task == "regression" and self._n_outputs > 1):
            raise ValueError(
                f"A portfolio predicts one target, and y has {np.asarray(y).shape[1]} columns; fit one estimator for "
                "each, as MultiOutputClassifier and MultiOutputRegressor do."
            )
        return rows

    def _weighed(self, member: Any, rows: Rows) -> Any:
        """Return a member with weights of classes by code, if it is of this library: others get weights of rows."""
        if rows.class_weight is None or not repeats(member):
            return member
        by_code = {f"{member.steps[-1][0]}__class_weight": dict(enumerate(rows.class_weight.tolist()))}
        return clone(member).set_params(**by_code)

    def _classifier_tags(self) -> ClassifierTags:
        return ClassifierTags()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.target_tags.multi_output = False
        return tags


@dataclass(eq=False, repr=False, kw_only=True)
@doc(CLASSIFIER, class_weight=CLASS_WEIGHT)
class PortfolioClassifier(_Portfolio):
    class_weight: Any = None

    def _is_classifier(self) -> bool:
        return True


@doc(REGRESSOR)
class PortfolioRegressor(_Portfolio):
    def _is_classifier(self) -> bool:
        return False
