"""The score of each member of a pool on some rows, with an interval."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, t
from sklearn.base import is_classifier, is_regressor

from skfusion._caller import warn_caller
from skfusion._rows import Rows, Task, rows_at
from skfusion.data import Score, outputs_of, score_function, scorer_named
from skfusion.estimators import EnsembleClassifier, EnsembleRegressor
from skfusion.evaluate._scoreboard import Scoreboard
from skfusion.pool import Member, ModelPool

BLOCKS = 20
"""Parts of the rows, each of which is left out once to find how far a score varies."""
LEVEL = 0.95


def leaderboard(pool: ModelPool, X: Any, y: Any, scoring: Any = None, *, estimator: Any = None) -> pd.DataFrame:
    r"""Score each member of a pool on some rows, and list the members from the best to the worst.

    Parameters
    ----------
    pool : ModelPool
        The members, networks of any architectures or fitted estimators.
    X, y : array-like
        Rows that no member was trained on; a warning says where they were.
    scoring : str, callable, or list of these, optional
        Scores, higher is better; the first one ranks. Names are those of :func:`skfusion.compare.get_scorer`; a
        function is called as ``scorer(estimator, X, y)`` with the codes of classes as ``y``. Accuracy, or R2, when
        omitted.
    estimator : skorch net, optional
        The net that runs members that carry none, as those of a pool that was read from a folder.

    Returns
    -------
    DataFrame
        A row a member, by name, with the columns ``<score>_mean``, ``<score>_low`` and ``<score>_high`` for each score,
        the ends being those of a 95 % interval, and ``n_seen``: how many of the rows the member was trained on, or has
        seen the inputs of; missing where that is not known. The columns are those of ``compare_fusions``, so that
        ``LeaderboardDisplay.from_frame`` draws them.

    Raises
    ------
    ValueError
        If no member can be scored, or the members are of different tasks.

    Warns
    -----
    LeakageWarning
        If members were trained on more than 5 % of the rows.
    UserWarning
        If members fail, which have NaN, and stand at the end.

    Notes
    -----
    Costs one prediction a member, and 21 calls of each score. Intervals are Wilson's for accuracy, and else those of a
    jackknife that leaves out each twentieth of the rows; equal rows count as one. They are those of a score on rows
    like these, and each by itself: members are scored on the same rows, so that two may differ clearly whose intervals
    overlap. The best of many members is best by chance, too: its score is too good for the choice.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927,
    doi:10.1080/01621459.1927.10502953. Efron and Tibshirani, "An introduction to the bootstrap", Chapman and Hall,
    1993 (jackknife).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skfusion import EnsembleClassifier
    >>> from skfusion.collect import Seeds
    >>> from skfusion.diagnose import leaderboard
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pool = EnsembleClassifier(collect=Seeds(2), random_state=0).fit(X[::2], y[::2]).pool_
    >>> table = leaderboard(pool, X[1::2], y[1::2], ["accuracy", "neg_log_loss"])
    >>> [*table.columns][:3], bool(table["accuracy_mean"].min() > 0.9)
    (['accuracy_mean', 'accuracy_low', 'accuracy_high'], True)
    """
    task = _task_of(pool, estimator, y)
    scores = _named(scoring, task)
    rows, classes = _rows(pool, estimator, X, y, task)
    pool.warn_of_leakage(rows, "to score members")
    n_outputs = rows.y.shape[1] if classes is None else len(classes)
    judged, unit, n_seen = replace(rows, X=X, columns=None), rows.units()[1], _seen(pool, rows)
    found: dict[str, list[float]] = {}
    errors: dict[str, Exception] = {}
    for member in pool:
        try:
            P = _prediction(pool, member, estimator, X, y, task, classes, n_outputs)
            if bad := int((~np.isfinite(P)).any(axis=1).sum()):  # whose largest output would still be right at times
                raise ValueError(f"it predicts NaN or infinity for {bad} of {len(P)} rows")
            found[member.name] = [x for score in scores for x in _interval(score, P, judged, unit)]
        except Exception as error:  # whatever libraries raise
            errors[member.name] = error
    if not found:
        first = next(iter(errors.values()))
        raise ValueError(f"No member can be scored: {_reasons(errors)}") from first
    if errors:
        warn_caller(f"Members that cannot be scored have NaN. {_reasons(errors)}")
    columns = [f"{score.name}_{what}" for score in scores for what in ("mean", "low", "high")]
    nothing = [math.nan] * len(columns)
    table = Scoreboard(
        [found.get(m.name, nothing) for m in pool], index=pd.Index(pool.names, name="member"), columns=columns
    )
    table["n_seen"] = pd.array(n_seen, dtype="Int64")
    table = table.sort_values(columns[0], ascending=False, kind="stable")
    table.attrs = {"scores": [score.name for score in scores], "n_rows": len(rows)}
    return table


@dataclass(frozen=True, eq=False)
class _Named:
    name: str
    score: Score
    is_share: bool  # of rows that are right


def _named(scoring: Any, task: Task) -> list[_Named]:
    """Return the scores with their names."""
    given: Sequence[Any] = scoring if isinstance(scoring, list | tuple) else [scoring]
    named = []
    for one in given:
        if one is not None:
            scorer_named(one)
        default = "r2" if task == "regression" else "accuracy"
        name = default if one is None else one if isinstance(one, str) else getattr(one, "__name__", "score")
        named.append(_Named(name, score_function(one, task), name == "accuracy" and (one is None or one == name)))
    names = [score.name for score in named]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"scoring must be one or several different scores; got {scoring!r}.")
    return named


def _task_of(pool: ModelPool, estimator: Any, y: Any) -> Task:
    """Return what the members predict; raise where some classify and others do not."""
    kinds: dict[str, str] = {}
    for member in pool:
        runs = _runner(member, estimator) if member.is_network else member.estimator
        if runs is not None and (is_classifier(runs) or is_regressor(runs)):
            kinds.setdefault("classification" if is_classifier(runs) else "regression", member.name)
    if not kinds:
        raise ValueError("The members have no net, as they come from files: give estimator=, the net that runs them.")
    if len(kinds) > 1:
        raise ValueError(
            f"Member {kinds['classification']!r} is a classifier and {kinds['regression']!r} is not; score each "
            "kind by itself."
        )
    if "regression" in kinds:
        return "regression"
    return "multilabel" if np.ndim(y) == 2 and np.shape(y)[1] > 1 else "classification"


def _runner(member: Member, estimator: Any) -> Any:
    return estimator if estimator is not None and not member.meta.get("own_net") else member.net


def _rows(pool: ModelPool, estimator: Any, X: Any, y: Any, task: Task) -> tuple[Rows, np.ndarray | None]:
    """Return rows with codes of sorted classes, or values, by which members recognise what they have seen."""
    values = np.asarray(y)
    if task == "regression":
        rows, classes = Rows(_numbers(X), values.astype(np.float64).reshape(len(values), -1), task=task), None
    elif task == "multilabel":
        rows, classes = Rows(_numbers(X), values.astype(np.int64), task=task), np.arange(values.shape[1])
    else:
        values = values.reshape(-1)
        classes = np.unique(values if pool.classes is None else pool.classes)
        if unknown := sorted({*values.tolist()} - {*classes.tolist()}, key=str):
            raise ValueError(f"y has labels that members do not know: {unknown[:5]}; theirs are {classes.tolist()}.")
        rows = Rows(_numbers(X), np.searchsorted(classes, values), task=task)
    return rows, classes


def _numbers(X: Any) -> Any:
    """Return inputs as networks see them, by which rows are recognised; the numbers of rows where they are none."""
    if isinstance(X, dict):
        return {name: np.asarray(part) for name, part in X.items()}
    try:
        return np.ascontiguousarray(X, np.float32)
    except (TypeError, ValueError):
        return np.arange(len(X), dtype=np.float32)[:, None]


def _seen(pool: ModelPool, rows: Rows) -> list[int | None]:
    known = {id(m.rows): m.rows for m in pool if m.rows is not None}
    counts = {key: int(rows.seen(marks, inputs=True).sum()) for key, marks in known.items()}
    return [None if m.rows is None else counts[id(m.rows)] for m in pool]


def _prediction(
    pool: ModelPool, member: Member, estimator: Any, X: Any, y: Any, task: Task, classes: Any, n_outputs: int
) -> np.ndarray:
    """Return what a member predicts for all classes in their order, shape (n_samples, n_outputs)."""
    if not member.is_network:
        return _of_estimator(member.estimator, member.name, X, task, classes, n_outputs)
    if (net := _runner(member, estimator)) is None:
        raise ValueError("it has no net, as it comes from a file: give estimator=, the net that it was trained with")
    kind = EnsembleRegressor if task == "regression" else EnsembleClassifier
    fitted = kind(net).fuse(ModelPool([member], classes=pool.classes), X, y)
    if task == "regression":
        return np.asarray(fitted.predict(X)).reshape(-1, n_outputs)
    P = np.asarray(fitted.predict_proba(X))
    return P if task == "multilabel" or classes is None else _by_class(P, fitted.classes_, classes)


def _of_estimator(fitted: Any, name: str, X: Any, task: Task, classes: np.ndarray | None, n_outputs: int) -> np.ndarray:
    if task != "classification" or classes is None:
        return outputs_of(fitted, X, task, n_outputs, name)
    if not hasattr(fitted, "predict_proba"):
        return (np.asarray(fitted.predict(X)).reshape(-1, 1) == classes).astype(np.float64)
    return _by_class(np.asarray(fitted.predict_proba(X)), np.asarray(fitted.classes_), classes)


def _by_class(P: np.ndarray, own: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return probabilities with a column for each class, in their order: zeros where the member does not know it."""
    places = np.searchsorted(classes, own).clip(max=len(classes) - 1)
    known = classes[places] == own
    by_class = np.zeros((len(P), len(classes)), P.dtype)
    by_class[:, places[known]] = P[:, known]
    return by_class


def _interval(named: _Named, P: np.ndarray, rows: Rows, unit: np.ndarray) -> tuple[float, float, float]:
    """Return a score and the ends of its interval; ``unit`` has the unit of each row, those of equal rows."""
    score, n_units = named.score(P, rows), int(unit.max()) + 1
    if not math.isfinite(score):
        raise ValueError(f"its {named.name} is {score}")
    if named.is_share:
        return (score, *wilson(score, n_units))
    if n_units < 3:
        return score, math.nan, math.nan
    blocks = min(BLOCKS, n_units)
    block = np.random.RandomState(0).permutation(n_units)[unit] % blocks
    without = np.empty(blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where a part of the rows lacks a class, the interval is NaN
        for b in range(blocks):
            index = np.flatnonzero(block != b)
            part = Rows(rows_at(rows.X, index), rows.y[index], task=rows.task)
            without[b] = named.score(P[index], part)
    error = math.sqrt((blocks - 1) / blocks * ((without - without.mean()) ** 2).sum())
    half = float(t.ppf((1 + LEVEL) / 2, blocks - 1)) * error
    return score, score - half, score + half


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the ends of Wilson's interval for a share of n, which lie between 0 and 1 also where all are right."""
    z = float(norm.ppf((1 + LEVEL) / 2))
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def _reasons(errors: dict[str, Exception]) -> str:
    """Return each reason once, with the members that it is of."""
    members: dict[str, list[str]] = {}
    for name, error in errors.items():
        members.setdefault(" ".join(str(error).split()) or type(error).__name__, []).append(name)
    parts = [
        f"{', '.join(map(repr, names[:3]))}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {reason}"
        for reason, names in members.items()
    ]
    return "; ".join(parts)
