"""Reuse models of others for a new task: find, route, average, stack or fine-tune them, or train anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skfusion._caller import warn_caller
from skfusion._component import HasParts
from skfusion._docs import CLASSIFIER, REGRESSOR, doc, template
from skfusion._rows import Rows, Task, one_of
from skfusion.data import (
    PredictsClasses,
    PredictsValues,
    check_given,
    check_inputs,
    encode_values,
    score_function,
)
from skfusion.estimators.reuse._options import ANEW, Judged, judged
from skfusion.estimators.reuse._train_anew import TrainsAnew
from skfusion.pool import ModelPool
from skfusion.reuse import AverageFound, FineTune, Found, Probe, ReusePool, Reuser, Route, Search, StackFound


@template
@dataclass(eq=False, repr=False)
class _ModelReuse(HasParts, BaseEstimator):
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
        ``AverageFound()``, ``StackFound()``, and where networks are found ``Probe()`` and ``FineTune()``.
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

    _task: ClassVar[Task]

    def fit(self, X: Any, y: Any = None, X_unlabelled: Any = None) -> _ModelReuse:
        """Find models and choose how to reuse them, or train anew.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Inputs of the new task.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Their labels, or values. Without them models are reused as they are.
        X_unlabelled : array-like of shape (n_unlabelled, ...), optional
            More inputs of the task, which the search sees beside those of ``X``; what is found is the better known the
            more there are.

        Returns
        -------
        estimator
            The fitted estimator.
        """
        pool, search = self._checked_pool(), self._checked_search()
        if y is None and pool is None:
            check_given(self, y)
        rows = self._rows(X, y)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        everything = rows.X
        if X_unlabelled is not None:
            everything = _joined(rows.X, check_inputs(self, X_unlabelled, reset=False)[0])
        if pool is None:
            self.found_, self.report_ = None, Judged({}, {}).to_frame(ANEW)
            return self._keep(ANEW, TrainsAnew(self.estimator).fit(None, rows.X, rows.y, self._classes(), seed))
        if search is not None and search.needs_labels:
            self.found_ = pool.search(rows.X, None if y is None else self._decoded(rows.y), search)
        else:
            self.found_ = pool.search(everything, search=search)
        if y is None:
            return self._without_labels(self.found_, rows, seed)
        return self._with_labels(self.found_, rows, y, search, seed)

    def _without_labels(self, found: Found, rows: Rows, seed: int) -> _ModelReuse:
        options = [option for option in self._options(found) if not option.needs_labels]
        if not options:
            raise ValueError(f"{self.reuse!r} learns from labelled rows: give y, or reuse=Route().")
        if found.fits is False:
            warn_caller(
                f"{found} They are reused all the same, as there are no labels to train anew with: do not rely on the "
                "predictions."
            )
        self._set_known(found)
        name, option = next(iter(_named(options).items()))
        self.report_ = Judged({name: np.nan}, {}).to_frame(name)
        return self._keep(name, clone(option).fit(found, rows.X, None, self._classes(), seed))

    def _with_labels(self, found: Found, rows: Rows, y: Any, search: Any, seed: int) -> _ModelReuse:
        ModelPool(found.chosen.members).warn_of_leakage(rows, "to choose how models are reused")
        rows = self._also_known(found, rows)
        options = {**_named(self._options(found)), ANEW: TrainsAnew(self.estimator)}
        if len(np.unique(rows.input_keys)) < 2:
            first = next((n for n, option in options.items() if not option.needs_labels and found.fits), ANEW)
            result = Judged({first: np.nan}, {})
        else:
            result = judged(
                options,
                lambda train: self._found_of(found, rows, train, search),
                rows,
                self._classes(),
                self.cv,
                score_function(self.scoring, self._task),
                seed,
            )
        for name in result.order(found.fits):
            try:
                fitted = clone(options[name]).fit(found, rows.X, rows.y, self._classes(), seed)
            except ValueError as error:  # as where one row less was of another class
                result.failures[name] = f"{type(error).__name__}: {error}"
                del result.scores[name]
                continue
            self.report_ = result.to_frame(name)
            self._warn(name, found, result)
            return self._keep(name, fitted)
        raise ValueError(f"All options have failed: {result.failures}.")

    def _warn(self, chosen: str, found: Found, result: Judged) -> None:
        failed = {name: why for name, why in result.failures.items() if name != ANEW}
        if failed and (self.reuse is not None or chosen == ANEW):
            warn_caller("These ways to reuse models are left out: " + "; ".join(f"{n}, {w}" for n, w in failed.items()))
        if chosen != ANEW:
            return
        others = {name: score for name, score in result.scores.items() if name != ANEW}
        compared = ""
        if others:
            best = max(others, key=lambda name: others[name])
            compared = f" Out of fold it scores {result.scores[ANEW]:.3g}, and {best} {others[best]:.3g}."
        warn_caller(f"A model is trained anew, as reusing those of the pool is no better.{compared} {found}")

    def _found_of(self, found: Found, rows: Rows, train: np.ndarray, search: Any) -> Found:
        """Return what is found from the rows of a fold: the same, unless the search asks for labels."""
        if search is None or not search.needs_labels:
            return found
        part = rows.take(train)
        return found.pool.search(part.X, self._decoded(part.y), search)

    def _options(self, found: Found) -> list[Reuser]:
        if self.reuse is None:
            networks = any(member.is_network for member in found.chosen.members)
            return [Route(), AverageFound(), StackFound(), *([Probe(), FineTune()] if networks else [])]
        options = [*self.reuse] if isinstance(self.reuse, Sequence) else [self.reuse]
        for option in options:
            if not isinstance(option, Reuser):
                hint = f" Write {option.__name__}()." if isinstance(option, type) else ""
                raise TypeError(f"reuse must be a Reuser, such as Route(), or a list of them; got {option!r}.{hint}")
        if not options:
            raise ValueError("reuse is an empty list: give a Reuser, such as Route(), or leave it out.")
        return options

    def _checked_pool(self) -> ReusePool | None:
        if self.pool is None:
            return None
        if not isinstance(self.pool, ReusePool):
            raise TypeError(
                f"pool must be a ReusePool; got a {type(self.pool).__name__}. Models are added by "
                "ReusePool().add(model, X), with the inputs that they were trained on."
            )
        if not len(self.pool):
            raise ValueError("The pool is empty: add models by pool.add(model, X), or leave it out to train anew.")
        if self.pool.task != self._task:
            raise ValueError(
                f"{type(self).__name__} needs models for {self._task}; those of the pool are for {self.pool.task}."
            )
        return self.pool

    def _checked_search(self) -> Search | None:
        if self.search is None or isinstance(self.search, Search):
            return self.search
        hint = f" Write {self.search.__name__}()." if isinstance(self.search, type) else ""
        raise TypeError(f"search must be a Search, such as MixtureMMD(); got {self.search!r}.{hint}")

    def _keep(self, name: str, fitted: Reuser) -> _ModelReuse:
        self.chosen_, self.reuser_ = name, fitted
        return self

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return check_inputs(self, X, reset=False)[0]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "reuser_")

    def _predict(self, X: Any) -> np.ndarray:
        return self.reuser_(X)


@doc(
    CLASSIFIER,
    known="""
    Models may know labels that are not in y, as few labelled rows lack some: ``classes_`` has those of the models that
    were found and share a label with y, and ``Route()``, ``AverageFound()`` and ``FineTune()`` predict them. Where none
    of the models knows a label, what learns from labelled rows is left: ``StackFound()``, ``Probe()``, ``FineTune()``
    with a new last layer, and training anew.""",
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
            X = check_inputs(self, X, np.zeros(len(one_of(X))), reset=True)[0]
            return Rows(X, np.zeros(len(one_of(X)), np.int64), task=self._task)
        X, y = check_inputs(self, X, y, reset=True)
        check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(
                f"y has {y.shape[1]} columns, and models are reused for classes that exclude each other. Fit one a "
                "column with sklearn.multioutput.MultiOutputClassifier."
            )
        self.classes_, codes = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        return Rows(X, codes.astype(np.int64), task=self._task)

    def _classes(self) -> np.ndarray:
        return self.classes_

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return self.classes_[y]

    def _set_known(self, found: Found) -> None:
        self.classes_ = np.asarray(found.chosen.classes)

    def _also_known(self, found: Found, rows: Rows) -> Rows:
        """Return rows with codes of the labels in y and of those of models that share one, which become the classes."""
        own = set(self.classes_.tolist())
        related = [offer.labels or () for offer in found.chosen if own.intersection(offer.labels or ())]
        self._in_y = self.classes_
        self.classes_ = np.unique(np.array([*own, *(label for labels in related for label in labels)]))
        codes = np.searchsorted(self.classes_, self._in_y)
        return Rows(rows.X, codes[rows.y].astype(np.int64), task=self._task)


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
            X = check_inputs(self, X, np.zeros(len(one_of(X))), reset=True)[0]
            self._flat = True
            return Rows(X, np.zeros((len(one_of(X)), 1)), task=self._task)
        X, y = check_inputs(self, X, y, reset=True)
        self._flat = y.ndim == 1
        return Rows(X, encode_values(y), task=self._task)

    def _classes(self) -> None:
        return None

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return y[:, 0] if y.shape[1] == 1 else y

    def _set_known(self, found: Found) -> None:
        pass

    def _also_known(self, found: Found, rows: Rows) -> Rows:
        return rows


def _named(options: Sequence[Reuser]) -> dict[str, Reuser]:
    """Return options by the names of their classes, with numbers where a class occurs again."""
    named: dict[str, Reuser] = {}
    for option in options:
        name = type(option).__name__
        n = sum(type(other) is type(option) for other in named.values())
        named[f"{name}-{n + 1}" if n else name] = option
    return named


def _joined(X: Any, others: Any) -> Any:
    if isinstance(X, dict):
        return {name: np.concatenate([values, others[name]]) for name, values in X.items()}
    return np.concatenate([X, others])
