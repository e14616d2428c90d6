"""A candidate of a search: an estimator with the parameters of a trial, fitted and scored on a fold."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skfusion.combine._scorer import score_by
from skfusion.estimators._base import BaseFusion
from skfusion.estimators.support._cache import NoKey, digest
from skfusion.estimators.support._crossfit import Table
from skfusion.estimators.support._far_below import FarBelowWarning
from skfusion.estimators.support._fill_random_state import seeded
from skfusion.estimators.support._pipeline import split_pipeline
from skfusion.estimators.support._repeated import repeats, transformed
from skfusion.estimators.support._shared_pools import SharedPools


@dataclass(frozen=True, eq=False)
class Part:
    """Rows as estimators take them.

    Parameters
    ----------
    X : array-like
        Inputs.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    weight : ndarray of shape (n_samples,), optional
        Positive weights.
    groups : ndarray of shape (n_samples,), optional
        Group of each row.
    again : ndarray of int, optional
        Positions, with whole-number weights as repetitions and equal rows side by side; None for the rows as they are.
    rest : ndarray, optional
        Weights at these positions, where they are no repetitions.
    """

    X: Any
    y: np.ndarray
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    again: np.ndarray | None = None
    rest: np.ndarray | None = None

    def repeated(self) -> Part:
        """Return the rows with whole-number weights as repetitions, for scores and estimators of other libraries."""
        if self.again is None:
            return self
        rows = Table(self.X, self.y).take(self.again)
        return Part(rows.X, rows.y, self.rest, None if self.groups is None else self.groups[self.again])

    def transformed(self, head: Any) -> Any:
        """Return the inputs as the steps of a pipeline give them, which are fitted on the repeated rows."""
        return transformed(head, Table(self.X, self.y), np.arange(len(self.y)) if self.again is None else self.again)


class Judged(NamedTuple):
    """What came of a candidate in a fold; ``fit_time`` has the training of its members, whoever had them trained."""

    score: float
    fit_time: float
    score_time: float
    error: str = ""


def candidate_of(estimator: Any, params: Any, seed: int, scoring: Any = None) -> Any:
    """Return a clone of the estimator, or of ``params["fusion"]``, with the other parameters and the seed set.

    A fusion that has no ``scoring`` of its own judges its members by that of the search, where this is a name: a
    function may read inputs or labels, which are not the same inside of a fusion.
    """
    if not isinstance(params, Mapping):
        raise TypeError(f"space must return a dict of parameters; got {params!r}.")
    given = {name: clone(value, safe=False) for name, value in params.items()}
    base = given.pop("fusion", estimator)
    if isinstance(base, type) or not (hasattr(base, "fit") and hasattr(base, "get_params")):
        raise TypeError(f"'fusion' must be an estimator, not its class or its name; got {base!r}.")
    if is_classifier(base) != is_classifier(estimator):
        kinds = ["a classifier" if is_classifier(e) else "a regressor" for e in (base, estimator)]
        raise ValueError(f"{type(base).__name__} is {kinds[0]}, and the estimator of the search is {kinds[1]}.")
    candidate = seeded(clone(base).set_params(**given), seed)
    last = split_pipeline(candidate)[1]
    free = isinstance(last, BaseFusion) and last.get_params(deep=False).get("scoring", "has none") is None
    if free and isinstance(scoring, str):
        last.set_params(scoring=scoring)
    return candidate


def mark_of(estimator: Any) -> str | None:
    """Return a hash of what an estimator computes, and not of how; None where it cannot be told for certain."""
    params = estimator.get_params(deep=False)
    kept = {k: v for k, v in sorted(params.items()) if k not in ("memory", "n_jobs", "verbose")}
    return mark_of_thing(type(estimator), kept)


def mark_of_thing(*things: Any) -> str | None:
    """Return a hash of what things are and do; None where it cannot be told for certain."""
    try:
        return digest(*things)
    except NoKey:
        return None


def check_searched(estimator: Any) -> None:
    """Raise where something cannot be searched over."""
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise TypeError(f"estimator must be an estimator, such as SoupClassifier(net); got {estimator!r}.")
    if not (is_classifier(estimator) or is_regressor(estimator)):
        raise TypeError(f"estimator must be a classifier or a regressor; got {type(estimator).__name__}.")


def judge(
    candidate: Any, train: Part, test: Part, scorer: Any, known: SharedPools, raising: bool
) -> tuple[Judged, SharedPools]:
    """Fit and score a candidate on a fold.

    Parameters
    ----------
    candidate : estimator
        Stays as it is.
    train, test : Part
        The fold.
    scorer : callable
        Higher is better.
    known : SharedPools
        Members that were collected for the fold already.
    raising : bool
        Whether an error is raised, and not returned.

    Returns
    -------
    judged : Judged
        With the error, where there is one.
    pools : SharedPools
        The members that were collected now.
    """
    own = SharedPools(known)
    unknown = float("nan")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FarBelowWarning)  # which the score says
            fitted, fit_time = fit_on(clone(candidate), train, own)
        start, test = time.perf_counter(), test.repeated()
        weights = {} if test.weight is None else {"sample_weight": test.weight}
        score = score_by(scorer, fitted, test.X, test.y, **weights)
        judged = Judged(score, fit_time, time.perf_counter() - start, "" if np.isfinite(score) else f"score {score}")
    except Exception as error:
        if raising:
            raise
        judged = Judged(unknown, unknown, unknown, f"{type(error).__name__}: {error}")
    return judged, own.without(known)


def fit_on(estimator: Any, part: Part, pools: SharedPools) -> tuple[Any, float]:
    """Fit an estimator, and return it with the seconds that it takes by itself, training its members.

    A fusion, also at the end of a pipeline, takes its members from ``pools``, or adds them; it holds rows out in any
    case, so that all fusions have members that were trained on the same rows.
    """
    head, last = split_pipeline(estimator)
    start = time.perf_counter()
    if not isinstance(last, BaseFusion):
        fit_whole(estimator, part)
        return estimator, time.perf_counter() - start
    X = part.X if head is None else part.transformed(head)
    rows = last._rows(X, part.y, part.weight, part.groups)
    given = last._given_pool()
    if given is None:
        last._fuse(last._collect(rows, force_hold_out=True, shared=pools))
    else:
        last._fuse_pool(given, rows, None)
    if head is not None:
        estimator.steps = [*head.steps, estimator.steps[-1]]
    return estimator, pools.fair(time.perf_counter() - start)


def fit_whole(estimator: Any, part: Part) -> None:
    """Fit an estimator with weights and groups, where there are some.

    Whole-number weights are given as they are to estimators of this library, which split rows before they repeat them.
    """
    head, last = split_pipeline(estimator)
    if repeats(last) and not isinstance(last, Pipeline):
        X = part.X if head is None else part.transformed(head)
        last.fit(X, part.y, **_extra(last, part))
        if head is not None:
            estimator.steps = [*head.steps, estimator.steps[-1]]
        return
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    part = part.repeated()
    estimator.fit(part.X, part.y, **{f"{prefix}{name}": value for name, value in _extra(last, part).items()})


def _extra(last: Any, part: Part) -> dict[str, Any]:
    extra = {}
    if part.weight is not None:
        if not has_fit_parameter(last, "sample_weight"):
            raise ValueError(
                f"{type(last).__name__} takes no sample_weight, and the weights are no whole numbers, which could be "
                "taken as repetitions. Leave it out of the space or give no weights."
            )
        extra["sample_weight"] = part.weight
    if part.groups is not None and has_fit_parameter(last, "groups"):
        extra["groups"] = part.groups
    return extra
