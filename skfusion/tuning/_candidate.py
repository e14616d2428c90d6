"""A candidate of a search: an estimator with the parameters of a trial, fitted and scored on a fold."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skfusion._rows import Rows, expansion
from skfusion.data import check_table, score_by, seeded
from skfusion.estimators import BaseFusion, FarBelowWarning
from skfusion.estimators.support import (
    SharedPools,
    fit_on_shared,
    repeats,
    split_pipeline,
    taken,
    transformed,
)
from skfusion.nets import NoKey, digest


class Judged(NamedTuple):
    """The result of a candidate in a fold; ``fit_time`` has the training of its members, also of shared ones."""

    score: float
    fit_time: float
    score_time: float
    error: str = ""


def checked(search: Any, estimator: Any, X: Any, y: Any, sample_weight: Any, groups: Any) -> tuple[Rows, Rows, Any]:
    """Return rows with encoded targets, rows with the user's, and the classes, which ``search`` remembers."""
    if isinstance(estimator, BaseFusion):  # it knows what is wrong with data before a trial is spent on them
        rows = clone(estimator)._rows(X, y, sample_weight, groups)
        if (pool := estimator._given_pool()) is not None:
            pool.warn_of_leakage(rows, "to compare fusions")
    classify = is_classifier(estimator)
    rows, classes, flat = check_table(search, X, y, sample_weight, groups, classify=classify)
    if classify:
        search.classes_ = classes
    targets = rows.y
    if rows.task == "classification":
        targets = classes[targets]
    elif rows.task == "regression":
        targets = (targets[:, 0] if flat else targets).astype(np.float64)
    return rows, rows.with_targets(targets), classes


def candidate_of(estimator: Any, params: Any, seed: int, scoring: Any = None) -> Any:
    """Return a clone of the estimator, or of ``params["fusion"]``, with the other parameters and the seed set.

    A fusion without ``scoring`` gets that of the search if it is a name: a function may read inputs, which may differ.
    """
    if not isinstance(params, Mapping):
        raise TypeError(f"space must return a dict of parameters; got {params!r}.")
    params = {name: clone(value, safe=False) for name, value in params.items()}
    base = params.pop("fusion", estimator)
    if isinstance(base, type) or not (hasattr(base, "fit") and hasattr(base, "get_params")):
        raise TypeError(f"'fusion' must be an estimator, not its class or its name; got {base!r}.")
    if is_classifier(base) != is_classifier(estimator):
        kinds = ["a classifier" if is_classifier(e) else "a regressor" for e in (base, estimator)]
        raise ValueError(f"{type(base).__name__} is {kinds[0]}, and the estimator of the search is {kinds[1]}.")
    candidate = seeded(clone(base).set_params(**params), seed)
    last = split_pipeline(candidate)[1]
    free = isinstance(last, BaseFusion) and last.get_params(deep=False).get("scoring", "has none") is None
    if free and isinstance(scoring, str):
        last.set_params(scoring=scoring)
    return candidate


def mark_of(estimator: Any) -> str | None:
    """Return a hash of what an estimator computes, and not of how; None where it is not certain."""
    params = estimator.get_params(deep=False)
    kept = {k: v for k, v in sorted(params.items()) if k not in ("memory", "n_jobs", "verbose")}
    return mark_of_thing(type(estimator), kept)


def mark_of_thing(*things: Any) -> str | None:
    """Return a hash of what things are and do; None where it is not certain."""
    try:
        return digest(*things)
    except NoKey:
        return None


def judge(
    candidate: Any, train: Rows, test: Rows, scorer: Any, known: SharedPools, raising: bool
) -> tuple[Judged, dict[str, Any]]:
    """Fit a clone of a candidate on a fold; return its score, and the members collected beside the ``known`` ones."""
    pools = SharedPools(known)
    unknown = float("nan")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FarBelowWarning)  # which the score says
            fitted, fit_time = fit_on(clone(candidate), train, pools)
        start, test = time.perf_counter(), test.expanded()
        weights = {} if test.weight is None else {"sample_weight": test.weight}
        score = score_by(scorer, fitted, test.X, test.y, **weights)
        judged = Judged(score, fit_time, time.perf_counter() - start, "" if np.isfinite(score) else f"score {score}")
    except Exception as error:
        if raising:
            raise
        judged = Judged(unknown, unknown, unknown, f"{type(error).__name__}: {error}")
    return judged, {key: pool for key, pool in pools.pools.items() if key not in known.pools}


def fit_on(estimator: Any, rows: Rows, pools: SharedPools) -> tuple[Any, float]:
    """Fit an estimator, and return it with the seconds that it takes by itself, training its members.

    A fusion, also at the end of a pipeline, shares its members; all hold rows out, so that members have the same rows.
    """
    head, last = split_pipeline(estimator)
    start = time.perf_counter()
    if not isinstance(last, BaseFusion):
        fit_whole(estimator, rows)
        return estimator, time.perf_counter() - start
    X = _through(head, rows)
    spent = fit_on_shared(last, last._rows(X, rows.y, rows.weight, rows.groups), pools, hold_out=True, start=start)
    if head is not None:
        estimator.steps = [*head.steps, estimator.steps[-1]]
    return estimator, sum(spent)


def fit_whole(estimator: Any, rows: Rows) -> None:
    """Fit an estimator with weights and groups, where there are some; those of this library repeat rows themselves."""
    head, last = split_pipeline(estimator)
    if repeats(last) and not isinstance(last, Pipeline):
        last.fit(_through(head, rows), rows.y, **_extra(last, rows))
        if head is not None:
            estimator.steps = [*head.steps, estimator.steps[-1]]
        return
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    rows = rows.expanded()
    estimator.fit(rows.X, rows.y, **{f"{prefix}{name}": value for name, value in _extra(last, rows).items()})


def _through(head: Any, rows: Rows) -> Any:
    """Return the inputs as the first steps of a pipeline give them, which are fitted on the repeated rows."""
    if head is None:
        return rows.X
    index = expansion(rows.keys, rows.weight)[0]
    return transformed(head, rows, np.arange(len(rows)) if index is None else index)


def _extra(last: Any, rows: Rows) -> dict[str, Any]:
    extra = taken(last, rows.groups)
    if rows.weight is not None:
        if not has_fit_parameter(last, "sample_weight"):
            raise ValueError(
                f"{type(last).__name__} takes no sample_weight, and the weights are no whole numbers, which could be "
                "taken as repetitions. Leave it out of the space or give no weights."
            )
        extra["sample_weight"] = rows.weight
    return extra
