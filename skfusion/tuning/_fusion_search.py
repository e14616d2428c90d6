"""Search over fusions with Optuna (Akiba et al., 2019)."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import KW_ONLY, dataclass
from functools import wraps
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier, is_regressor
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skfusion._docs import AS_THE_NET, doc
from skfusion._readable import Readable
from skfusion.data import folds, score_by, scorer_named, seeded
from skfusion.estimators import BaseFusion, EnsembleClassifier, StackingFusion
from skfusion.estimators.support import begin_fit
from skfusion.nets import digest
from skfusion.tuning._bar import SearchBar
from skfusion.tuning._candidate import candidate_of, checked, fit_whole, mark_of, mark_of_thing
from skfusion.tuning._study import check_space, open_study, quiet
from skfusion.tuning._trials import FoldFailed, Trials, finished, params_of, table_of, warn_of_failures


def _by_best(method: Callable[..., np.ndarray]) -> Any:
    """Return a method of an estimator as one of a search, which has it where its best estimator has it."""

    @wraps(method)
    def by_best(self: Any, X: Any) -> np.ndarray:
        return getattr(self._best(), method.__name__)(X)

    def has_it(self: Any) -> bool:
        return hasattr(getattr(self, "best_estimator_", self.estimator), method.__name__)

    return available_if(has_it)(by_best)


@doc(AS_THE_NET)
@dataclass(eq=False, repr=False)
class FusionSearch(Readable, MetaEstimatorMixin, CallbackSupportMixin, BaseEstimator):
    """Let Optuna choose a fusion, its parameters and its members by cross-validation.

    The members of each fold are collected once for each collector, net and seed, and all trials fuse them: a search
    of T trials over k folds trains K k networks, not T K k. All fusions hold out the same rows of a fold.

    Parameters
    ----------
    estimator : estimator
        The fusion that trials change, such as ``SoupClassifier(net, collect=Seeds(5))``, or a pipeline that ends in
        one. With a pool as ``collect`` nothing is trained. Any other classifier or regressor is fitted as a whole.
    space : callable
        ``space(trial)`` returns a dict of parameters, which are set on a clone of ``estimator``; nested ones as
        ``merge__strict``. Under ``"fusion"`` it may give another estimator to set the others on. What it returns must
        depend on the values that ``trial.suggest_...`` returns, and on nothing else.
    n_trials : int, default=50
        Trials that the study has in the end, pruned and failed ones included. More find better fusions.
    cv : int, splitter or iterable, default=5
        Folds; a number keeps groups together where they are given. More cost more and test on smaller parts.
    scoring : str or callable, optional
        As in ``GridSearchCV``, one score; accuracy or R2 when omitted. Higher is better. A name is also the
        score by which fusions without ``scoring`` choose and weigh their members.
    sampler : sampler of Optuna, or callable, optional
        TPE when omitted, which continues a study as if there had been no break. A callable, such as the class
        ``GPSampler``, is called with ``seed=``; an instance is copied and keeps its own seed.
    pruner : pruner of Optuna, optional
        Gets the mean score of the folds so far. No trial is pruned when omitted, as folds differ by more than fusions
        often do.
    storage : str or storage of Optuna, optional
        Where the study is kept, so that another fit or other processes can continue it; in memory when omitted.
    study_name : str, optional
        Name in the storage; ``"fusion-search"`` when omitted.
    n_jobs : int, optional
        Folds computed at a time, by joblib; the result does not depend on it.
    refit : bool, default=True
        Whether to fit the best fusion on all rows.
    random_state : int or RandomState, optional
        Of the sampler, and of every part whose ``random_state`` is None. A study in a storage needs an integer.
    timeout : float, optional
        Seconds after which no trial is begun. The result then depends on the machine.
    {verbose}
    error_score : "raise" or nan, default=nan
        What becomes of an error of a fusion. With NaN its trial fails, as where a score is NaN, and a warning names it.

    Attributes
    ----------
    best_estimator_, best_score_, best_index_, scorer_, n_splits_, refit_time_
        As in ``GridSearchCV``.
    best_params_ : dict
        What ``space`` returned for the best trial.
    cv_results_ : dict of arrays
        One entry a trial, as in ``GridSearchCV``; ``param_...`` are the values that were suggested. ``trial``,
        ``state`` and ``error`` say what became of it; ``mean_fit_time`` (seconds) has the training of members, also of
        shared ones.
    study_ : optuna.Study
        The study.
    {classes_}
    {features_}

    Notes
    -----
    The score of the best trial is too good, as it is the best of many; score the search itself on other rows.

    References
    ----------
    Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019,
    doi:10.1145/3292500.3330701.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleClassifier, SoupClassifier
    >>> from skfusion.collect import Seeds
    >>> from skfusion.tuning import FusionSearch, suggest_members
    >>> X, y = load_iris(return_X_y=True)
    >>> def space(trial):
    ...     params = {"select": suggest_members(trial, ["seed-0", "seed-1", "seed-2"])}
    ...     if trial.suggest_categorical("kind", ["soup", "ensemble"]) == "ensemble":
    ...         params["fusion"] = EnsembleClassifier(collect=Seeds(3))
    ...     return params
    >>> soup = SoupClassifier(collect=Seeds(3))
    >>> search = FusionSearch(soup, space, n_trials=8, cv=3, random_state=0).fit(X, y)
    >>> search.best_score_ > 0.9
    True
    """

    estimator: Any
    space: Callable[[Any], dict[str, Any]]
    _: KW_ONLY
    n_trials: int = 50
    cv: Any = 5
    scoring: Any = None
    sampler: Any = None
    pruner: Any = None
    storage: Any = None
    study_name: str | None = None
    n_jobs: int | None = None
    refit: bool = True
    random_state: Any = None
    timeout: float | None = None
    verbose: int = 0
    error_score: Any = np.nan

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> FusionSearch:
        """Run the trials that the study lacks, and fit the best fusion; see :meth:`EnsembleClassifier.fit`.

        Inputs are as the estimator takes them, and the rows of one group are also tested together.
        """
        seed = self._checked_seed()
        estimator = seeded(clone(self.estimator), seed)
        rows, shown, classes = checked(self, estimator, X, y, sample_weight, groups)
        splits = [*folds(rows, self.cv, rows.task, labels=classes)]
        self.n_splits_ = len(splits)
        if isinstance(self.scoring, (list, tuple, set, dict)):
            raise ValueError(f"scoring must be one score, as a search has one best fusion; got {self.scoring!r}.")
        self.scorer_ = check_scoring(estimator, None if self.scoring is None else scorer_named(self.scoring))
        marks = {
            "data or folds": digest(rows.keys, rows.weight, rows.groups, classes, splits),
            "estimator": mark_of(self.estimator),
            "random_state": str(seed),
            "scoring": mark_of_thing(self.scoring),
            "space": mark_of_thing(self.space),
        }
        self.study_ = open_study(self, marks, seed)
        for trial in finished(self.study_):
            params_of(self.space, trial)  # which raises where the study is of another space
        parts = [(shown.take(train), shown.take(test)) for train, test in splits]
        bar = SearchBar(self, len(finished(self.study_)))
        context, _ = begin_fit(self, X, y, n_tasks=max(0, self.n_trials - bar.n_done), show=False)
        with bar:
            self._run(Trials(self, estimator, parts, seed, bar), context)
            trials = finished(self.study_)
            warn_of_failures(trials)
            self.cv_results_ = table_of(trials, self.space, self.n_splits_)
            means = self.cv_results_["mean_test_score"]
            self.best_index_ = int(np.nanargmax(means))
            self.best_score_, self.best_params_ = (
                float(means[self.best_index_]),
                self.cv_results_["params"][self.best_index_],
            )
            if self.refit:
                bar.refit()
                start = time.monotonic()
                best = candidate_of(estimator, self.best_params_, seed, self.scoring)
                if isinstance(best, BaseFusion):
                    best.fit(X, y, sample_weight=sample_weight, groups=groups)
                else:
                    fit_whole(best, shown)
                self.best_estimator_, self.refit_time_ = best, time.monotonic() - start
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _checked_seed(self) -> int:
        if isinstance(self.estimator, type) or not hasattr(self.estimator, "fit"):
            raise TypeError(f"estimator must be an estimator, such as SoupClassifier(net); got {self.estimator!r}.")
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            raise TypeError(f"estimator must be a classifier or a regressor; got {type(self.estimator).__name__}.")
        check_space(self.space)
        if not isinstance(self.n_trials, Integral) or self.n_trials < 1:
            raise ValueError(f"n_trials must be a whole number, 1 or more; got {self.n_trials!r}.")
        if self.error_score != "raise" and not np.isnan(self.error_score):
            raise ValueError(f"error_score must be 'raise' or NaN; got {self.error_score!r}.")
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        if self.storage is not None:
            raise ValueError(
                f"A study in a storage needs an integer random_state, so that whoever continues it trains the same "
                f"members; got {self.random_state!r}."
            )
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _run(self, trials: Trials, context: Any) -> None:
        def value(trial: Any) -> float:
            task = context.subcontext(task_name="trial").call_on_fit_task_begin(estimator=self)
            try:
                return trials.value(trial)
            finally:
                trials.bar.end()
                if task.call_on_fit_task_end(estimator=self):
                    trial.study.stop()

        def enough(study: Any, _trial: Any) -> None:
            if len(finished(study)) >= self.n_trials:
                study.stop()

        if len(finished(self.study_)) < self.n_trials:
            with quiet():
                self.study_.optimize(value, timeout=self.timeout, callbacks=[enough], catch=(FoldFailed,))

    # ---- predictions, which are those of the best estimator -------------------------------------
    predict = _by_best(StackingFusion.predict)
    predict_proba = _by_best(EnsembleClassifier.predict_proba)
    predict_log_proba = _by_best(EnsembleClassifier.predict_log_proba)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the score of the best fusion by ``scoring``, higher is better; see :meth:`StackingFusion.score`."""
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return score_by(self.scorer_, self._best(), X, y, **weights)

    def _best(self) -> Any:
        check_is_fitted(self)
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(
                f"This {type(self).__name__} was fitted with refit=False, so it has chosen a fusion and not fitted it: "
                "fit one with best_params_, or search with refit=True."
            )
        return self.best_estimator_

    def _drawn_parts(self) -> dict[str, Any]:
        best = getattr(self, "best_estimator_", None)
        return {"estimator": self.estimator} if best is None else {"best_estimator_": best}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "cv_results_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        best = get_tags(self.estimator)
        for name in ("estimator_type", "classifier_tags", "regressor_tags", "target_tags"):
            setattr(tags, name, deepcopy(getattr(best, name)))
        tags.input_tags.sparse = best.input_tags.sparse
        return tags
