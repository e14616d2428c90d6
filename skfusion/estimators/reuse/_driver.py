"""The course of a fit that reuses models: search, judge the ways to reuse what is found, and fit the best."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfusion._caller import warn_caller
from skfusion._readable import HasParts
from skfusion._rows import Rows, Task
from skfusion.data import check_given, check_inputs, score_function
from skfusion.estimators.reuse._options import ANEW, Judged, judged
from skfusion.estimators.reuse._train_anew import _TrainsAnew
from skfusion.pool import ModelPool
from skfusion.reuse import AsFound, AverageFound, FineTune, Found, Probe, ReusePool, Reuser, Route, Search, StackFound


class ReuseDriver(HasParts, BaseEstimator):
    """Find models and choose how to reuse them; subclasses name the parameters, and encode targets."""

    pool: Any = None
    search: Any = None
    reuse: Any = None
    estimator: Any = None
    cv: Any = 5
    scoring: Any = None
    random_state: Any = None

    _task: ClassVar[Task]

    # ---- what a subclass fills ---------------------------------------------------------------
    @abstractmethod
    def _rows(self, X: Any, y: Any) -> Rows:
        """Return rows with codes of classes or values; set the classes, or the shape of the values."""

    @abstractmethod
    def _classes(self) -> np.ndarray | None:
        """Return the classes by their code; None in regression."""

    @abstractmethod
    def _decoded(self, y: np.ndarray) -> np.ndarray:
        """Return targets as the user gave them."""

    @abstractmethod
    def _set_known(self, found: Found, rows: Rows) -> None:
        """Set the classes to the labels of models, or the shape of the values to theirs."""

    @abstractmethod
    def _also_known(self, found: Found, rows: Rows) -> Rows:
        """Return rows with codes of the labels in y and in the models, where these share one; they are the classes."""

    # ---- fitting -----------------------------------------------------------------------------
    def fit(self, X: Any, y: Any = None, X_unlabelled: Any = None) -> ReuseDriver:
        """Find models and choose how to reuse them, or train anew.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Inputs of the new task.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Their labels, or values. Without them models are reused as they are.
        X_unlabelled : array-like of shape (n_unlabelled, ...), optional
            More inputs of the task, which the search sees beside those of ``X``; what is found is the better known the
            more there are. Searches that ask for labels see those of ``X`` alone.

        Returns
        -------
        estimator
            The fitted estimator.
        """
        pool, search = self._checked_pool(), self._checked_search()
        self.search_ = search
        if y is None and pool is None:
            check_given(self, y)
        rows = self._rows(X, y)
        self._check_columns(pool)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        everything = rows.X
        if X_unlabelled is not None:
            everything = _joined(rows.X, as_precise(X_unlabelled, check_inputs(self, X_unlabelled, reset=False)[0]))
        if pool is None:
            self.found_, self.report_ = None, Judged({}, {}).to_frame(ANEW)
            return self._keep(ANEW, _TrainsAnew(self.estimator).fit(None, rows.X, rows.y, self._classes(), seed))
        if search is not None and search.needs_labels:
            self.found_ = pool.search(rows.X, None if y is None else self._decoded(rows.y), search)
        else:
            self.found_ = pool.search(everything, search=search)
        if y is None:
            return self._without_labels(self.found_, rows, seed)
        return self._with_labels(self.found_, rows, y, search, seed)

    def _without_labels(self, found: Found, rows: Rows, seed: int) -> ReuseDriver:
        options = [option for option in self._options(found) if not option.needs_labels]
        if not options:
            raise ValueError(f"{self.reuse!r} learns from labelled rows: give y, or reuse=Route().")
        if found.fits is False:
            warn_caller(
                f"{found} They are reused all the same, as there are no labels to train anew with: do not rely on the "
                "predictions."
            )
        self._set_known(found, rows)
        name, option = next(iter(_named(options).items()))
        self.report_ = Judged({name: np.nan}, {}).to_frame(name)
        return self._keep(name, clone(option).fit(found, rows.X, None, self._classes(), seed))

    def _with_labels(self, found: Found, rows: Rows, y: Any, search: Any, seed: int) -> ReuseDriver:
        ModelPool(found.chosen.members).warn_of_leakage(rows, "to choose how models are reused")
        labelled, rows = rows, self._also_known(found, rows)
        options = {**_named(self._options(found)), ANEW: _TrainsAnew(self.estimator)}
        result = Judged({}, {})
        if len(np.unique(rows.input_keys)) >= 2:
            result = judged(
                options,
                lambda train: self._found_of(found, rows, train, search),
                rows,
                self._classes(),
                self.cv,
                score_function(self.scoring, self._task),
                seed,
            )
        if not result.scores:  # too few rows to tell
            first = next((n for n, option in options.items() if not option.needs_labels and found.fits), ANEW)
            result = Judged({first: np.nan}, {n: why for n, why in result.failures.items() if n != first})
        for name in result.order(found.fits):
            if name == ANEW:  # which knows no other labels
                rows = self._only_given(labelled, y)
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

    def _only_given(self, labelled: Rows, y: Any) -> Rows:
        """Return rows as they were given, with the labels in y as the classes."""
        if self._task == "classification":
            self.classes_ = np.unique(np.asarray(y).ravel())
        return labelled

    def _warn(self, chosen: str, found: Found, result: Judged) -> None:
        failed = {name: why for name, why in result.failures.items() if name != ANEW}
        if failed and (self.reuse is not None or chosen == ANEW):
            warn_caller("These ways to reuse models are left out: " + "; ".join(f"{n}, {w}" for n, w in failed.items()))
        if chosen != ANEW:
            return
        others = {name: score for name, score in result.scores.items() if name != ANEW}
        why = "the labelled rows do not tell how well those of the pool can be reused."
        if others:
            best = max(others, key=lambda name: others[name])
            why = (
                f"reusing those of the pool is no better. Out of fold it scores {result.scores[ANEW]:.3g}, and {best} "
                f"{others[best]:.3g}."
            )
        warn_caller(f"A model is trained anew, as {why} {found}")

    def _found_of(self, found: Found, rows: Rows, train: np.ndarray, search: Any) -> Found:
        """Return what is found from the rows of a fold: the same, unless the search asks for labels."""
        if search is None or not search.needs_labels:
            return found
        part = rows.take(train)
        return found.pool.search(part.X, self._decoded(part.y), clone(search))

    def _options(self, found: Found) -> list[Reuser]:
        if self.reuse is None and found.reuse is not None:
            return [AsFound()]
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

    def _check_columns(self, pool: ReusePool | None) -> None:
        """Raise ``ValueError`` where a model read the columns of a table in another order."""
        names = [*getattr(self, "feature_names_in_", ())]
        for offer in pool or ():
            own = [*getattr(offer.member.estimator, "feature_names_in_", ())]
            if own != names and sorted(own) == sorted(names):
                raise ValueError(
                    f"Model {offer.name!r} was fitted on the columns of X in another order: give X[{own}]."
                )

    def _checked_search(self) -> Search | None:
        if self.search is None:
            return None
        if isinstance(self.search, Search):
            return clone(self.search)  # which may remember what it does
        hint = f" Write {self.search.__name__}()." if isinstance(self.search, type) else ""
        raise TypeError(f"search must be a Search, such as MixtureMMD(); got {self.search!r}.{hint}")

    def _keep(self, name: str, fitted: Reuser) -> ReuseDriver:
        self.chosen_, self.reuser_ = name, fitted
        return self

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return as_precise(X, check_inputs(self, X, reset=False)[0])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "reuser_")

    def _predict(self, X: Any) -> np.ndarray:
        return self.reuser_(X)


def _named(options: Sequence[Reuser]) -> dict[str, Reuser]:
    """Return options by the names of their classes, with numbers where a class occurs again."""
    named: dict[str, Reuser] = {}
    for option in options:
        name = type(option).__name__
        n = sum(type(other) is type(option) for other in named.values())
        named[f"{name}-{n + 1}" if n else name] = option
    return named


def as_precise(X: Any, checked: Any) -> Any:
    """Return validated inputs in the double precision in which they came: only networks round them to single."""
    if isinstance(checked, dict) or issparse(X):
        return checked
    given = np.asarray(X)
    return given.astype(np.float64) if given.dtype == np.float64 or given.dtype.kind in "iu" else checked


def _joined(X: Any, others: Any) -> Any:
    if isinstance(X, dict):
        return {name: np.concatenate([values, others[name]]) for name, values in X.items()}
    return np.concatenate([X, others])
