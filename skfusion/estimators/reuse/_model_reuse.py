"""Reuse models of others for a new task: find, route, average, stack or fine-tune them, or train anew."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._rows import Rows, Task, one_of, rows_at
from skfusion.data import PredictsClasses, PredictsValues, check_inputs, encode_values
from skfusion.estimators.reuse._driver import ReuseDriver, as_precise
from skfusion.reuse import Found


@template
@dataclass(eq=False, repr=False)
class _ModelReuse(ReuseDriver):
    """{Predict} by models of others that fit, found by their specifications, or by a model trained anew.

    ``fit`` searches the pool for models whose training inputs are like the new ones. Labelled rows decide, out of fold,
    how these are reused, and whether that is better than training anew; without labels, rows are routed to models. A
    warning says where the models do not fit, or training anew is better.

    Parameters
    ----------
    pool : ReusePool, optional
        Models with their specifications. Without one, a model is trained anew.
    search : Search, optional
        How models are found; ``MixtureMMD()`` when omitted.
    reuse : Reuser or list of Reuser, optional
        How they are reused; of several, labelled rows choose. When omitted ``Route()`` without labels; with them also
        ``AverageFound()``, ``StackFound()``, and where networks are found ``Probe()`` and ``FineTune()``; ``AsFound()``
        where the search says how, as :class:`skfusion.tuning.TunedReuse` does.
    estimator : skorch net or sklearn estimator, optional
        What is trained anew. The network for tables, as :func:`skfusion.nets.default_net` gives it, when omitted.
    cv : int, splitter or iterable, default=5
        Folds by which labelled rows choose.
    scoring : str or callable, optional
        The score by which they choose, of all predictions out of fold together; {score} when omitted.
    random_state : int or RandomState, optional
        Seed of folds and training.

    Attributes
    ----------
    chosen_ : str
        How the estimator predicts: the name of a reuser, such as ``"Route"``, or ``"anew"``.
    reuser_ : Reuser
        What predicts, fitted.
    search_ : Search or None
        The search, with what it remembers of all rows, such as the ``study_`` of a :class:`skfusion.tuning.TunedReuse`.
    found_ : Found or None
        The models that were found; ``str(found_)`` says how well they fit.
    report_ : DataFrame of shape (n_options, 3)
        The out-of-fold score of each option, which is chosen, and why one has failed. The best of several scores is
        somewhat too good.
    {classes_}
    {features_}

    Notes
    -----
    Labelled rows must be new to the models; a warning says where they are known to have been trained on. The search
    sees no labels unless it asks for them, and then it is done anew in each fold. Among options of equal scores, models
    are reused where they fit, and trained anew where they do not. With fewer than two different labelled rows nothing
    can be scored: models are routed to where they fit.

    {known}

    References
    ----------
    Zhou and Tan, "Learnware: small models do big", Science China Information Sciences 67, 2024,
    doi:10.1007/s11432-023-3823-6. Wu, Xu, Liu and Zhou, "Model reuse with reduced kernel mean embedding
    specification", IEEE TKDE 35, 2023, doi:10.1109/TKDE.2021.3086619.

    Examples
    --------
    {example}
    """

    pool: Any = None
    _: KW_ONLY
    search: Any = None
    reuse: Any = None
    estimator: Any = None
    cv: Any = 5
    scoring: Any = None
    random_state: Any = None


def _columns(checked: Any) -> np.ndarray | None:
    """Return what rows are compared by: inputs in the precision in which networks know those that they have seen."""
    return None if isinstance(checked, dict) else checked


@doc(
    CLASSIFIER,
    known="""
    Models may know labels that are not in y, as few labelled rows lack some: ``classes_`` has those of the models that
    were found too, if one of these is in y, and ``Route()``, ``AverageFound()`` and ``FineTune()`` predict them. Where
    none of the models knows a label in y, what learns from labelled rows is left: ``StackFound()``, ``Probe()``,
    ``FineTune()`` with a new last layer, and training anew. A model that is trained anew knows the labels in y.""",
    example="""
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skfusion import ModelReuseClassifier
    >>> from skfusion.reuse import ReusePool
    >>> X, y = load_digits(return_X_y=True)
    >>> X, pool = X / 16, ReusePool()
    >>> for name, rows in [("low", y[:900] < 5), ("high", y[:900] >= 5)]:
    ...     pool = pool.add(LogisticRegression().fit(X[:900][rows], y[:900][rows]), X[:900][rows], name=name)
    >>> anew = LogisticRegression()
    >>> reused = ModelReuseClassifier(pool, estimator=anew, random_state=0)
    >>> reused = reused.fit(X[900:920], y[900:920], X_unlabelled=X[920:1100])
    >>> reused.chosen_
    'Route'
    >>> reused.score(X[1100:], y[1100:]) > anew.fit(X[900:920], y[900:920]).score(X[1100:], y[1100:])
    True""",
)
class ModelReuseClassifier(PredictsClasses, _ModelReuse):
    _task: ClassVar[Task] = "classification"

    def _rows(self, X: Any, y: Any) -> Rows:
        if y is None:
            X = as_precise(X, check_inputs(self, X, np.zeros(len(one_of(X))), reset=True)[0])
            return Rows(X, np.zeros(len(one_of(X)), np.int64), task=self._task)
        checked, y = check_inputs(self, X, y, reset=True)
        check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(
                f"y has {y.shape[1]} columns, and models are reused for classes that exclude each other. Fit one a "
                "column with sklearn.multioutput.MultiOutputClassifier."
            )
        self.classes_, codes = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        return Rows(as_precise(X, checked), codes.astype(np.int64), task=self._task, columns=_columns(checked))

    def _classes(self) -> np.ndarray:
        return self.classes_

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return self.classes_[y]

    def _set_known(self, found: Found, rows: Rows) -> None:
        self.classes_ = np.asarray(found.chosen.classes)

    def _also_known(self, found: Found, rows: Rows) -> Rows:
        """Return rows with codes of the labels in y and in the models, where these share one; they are the classes."""
        in_y, known = self.classes_, found.chosen.classes
        if known is None or not set(in_y.tolist()).intersection(known.tolist()):
            return rows
        self.classes_ = np.unique(np.array([*in_y.tolist(), *known.tolist()]))
        codes = np.searchsorted(self.classes_, in_y)
        return replace(rows, y=codes[rows.y].astype(np.int64))


@doc(
    REGRESSOR,
    known="Values are predicted in the units of the models.",
    example="""
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skfusion import ModelReuseRegressor
    >>> from skfusion.reuse import ReusePool
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pool = ReusePool().add(Ridge(0.1).fit(X[:300], y[:300]), X[:300], name="ridge")
    >>> reused = ModelReuseRegressor(pool, estimator=Ridge(), random_state=0).fit(X[300:310], y[300:310])
    >>> reused.score(X[310:], y[310:]) > 0.4
    True""",
)
class ModelReuseRegressor(PredictsValues, _ModelReuse):
    _task: ClassVar[Task] = "regression"

    def _rows(self, X: Any, y: Any) -> Rows:
        if y is None:
            X = as_precise(X, check_inputs(self, X, np.zeros(len(one_of(X))), reset=True)[0])
            return Rows(X, np.zeros((len(one_of(X)), 1)), task=self._task)
        checked, y = check_inputs(self, X, y, reset=True)
        self._flat = y.ndim == 1
        return Rows(as_precise(X, checked), encode_values(y), task=self._task, columns=_columns(checked))

    def _classes(self) -> None:
        return None

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return y[:, 0] if y.shape[1] == 1 else y

    def _set_known(self, found: Found, rows: Rows) -> None:
        self._flat = found.chosen[0].predictions(rows_at(rows.X, np.arange(1))).shape[1] == 1

    def _also_known(self, found: Found, rows: Rows) -> Rows:
        return rows
