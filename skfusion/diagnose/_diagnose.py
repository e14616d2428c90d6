"""Can these networks be merged? All that can be measured of a pool, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from skfusion.diagnose._report import FusionReport
from skfusion.diagnose.judge._advice import advice
from skfusion.diagnose.judge._facts import Facts
from skfusion.diagnose.judge._notes import recommend, remarks
from skfusion.diagnose.judge._recipes import Recipes
from skfusion.diagnose.measure._cka import similarity
from skfusion.diagnose.measure._families import PURPOSE, families, family_of, is_of_one_architecture
from skfusion.diagnose.measure._lines import profiles_of
from skfusion.diagnose.measure._tables import (
    Pairs,
    add_lines,
    add_similarity,
    basins_of,
    chosen_pairs,
    members_of,
    pairs_within,
    scores_of,
    statistics_of,
    weights_of,
)
from skfusion.evaluate import check_both, check_n_points
from skfusion.geometry import LEAST_ROWS
from skfusion.pool import ModelPool

_ROUNDING = 1e-9
"""A fall that equals the tolerance counts as none, though a sum over rows is not exact."""


def diagnose(
    pool: ModelPool,
    X: Any = None,
    y: Any = None,
    *,
    estimator: Any = None,
    scoring: Any = None,
    X_fit: Any = None,
    n_points: int = 11,
    tolerance: float = 0.02,
    random_state: int = 0,
    pairs: Pairs = "all",
) -> FusionReport:
    """Measure whether the members of a pool can be merged, and say what to do with them.

    Each pair is measured on the straight line between its weights: as it is, with BatchNorm statistics recalibrated,
    and with units matched by weights and by activations, each of these recalibrated and with
    :class:`~skfusion.repair.Repair`. Uniform soups are judged in the same ways, and so is the average of the members'
    predictions. Verdicts follow from these numbers alone.

    Parameters
    ----------
    pool : ModelPool
        At least two members. They may be of different architectures, or see different columns: then only predictions
        are compared between these.
    X, y : array-like, optional
        Rows that no member was trained on. Without them only weights are compared, which say little.
    estimator : estimator or skorch net, optional
        How to run the members; a soup of the net that they carry when omitted.
    scoring : str or callable, optional
        The score, higher is better; accuracy or R2 when omitted.
    X_fit : array-like, optional
        Rows that statistics of BatchNorm, and the means and spreads for Repair, are estimated on, and that activations
        are matched on, such as those of training: labels are not needed. The rows of ``X`` when omitted, of which the
        labels are not read for this. Few rows, or rows that differ from those of training, give bad statistics,
        which the notes report.
    n_points : int, default=11
        Positions on each line, both ends and the middle included: an odd number. More find narrower barriers.
    tolerance : float, default=0.02
        A fall of the score up to this counts as none, in units of the score. With a larger one, more members count as
        equally good.
    random_state : int, default=0
        Seed of the matching, and of the choice of rows for CKA and of pairs.
    pairs : {"all", "neighbours"} or int, default="all"
        Which pairs of members are looked at: all; those K - 1 of the least distances that join all K members; or a
        number of them that is drawn. A note says how many of how many.

    Returns
    -------
    FusionReport
        Tables, verdicts and a recommendation.

    Raises
    ------
    ValueError
        If there are fewer than two members, a weight is NaN or infinite, X comes without y, X_fit without X, the rows
        are fewer than four, or the members cannot be run.

    Notes
    -----
    Rules: a soup, or one after alignment, is a yes where the score falls on no line between two members and the soup
    scores no less than the best of them, both up to ``tolerance``. The ensemble is a yes where it gains over each
    single network, and keeping the best a yes where no average of weights gains or is a yes itself. Such gains count
    where they exceed two standard errors of the difference of the same rows; for other scores than accuracy, R2, their
    log-loss and squared error, where they exceed the tolerance. Smaller gains are a maybe. An ensemble that scores no
    more than one network is a no. Members are judged with the BatchNorm statistics that they have and with recalibrated
    ones: a note reports a member that gains by these, and a soup that it beats by more than the tolerance, and by more
    than chance, is a maybe.

    For K members, costs K (K - 1) / 2 pairs, or as many as ``pairs`` says, times six lines of ``n_points`` evaluations,
    of which those with Repair take several passes over the rows each; networks with BatchNorm have four lines, which
    take about L / 2 passes for L such layers, and those that cannot be aligned one or two. Representations are compared
    on at most 1000 rows.

    References
    ----------
    Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020, arXiv:1912.05671. Jordan et
    al., "REPAIR: REnormalizing permuted activations for interpolation repair", ICLR 2023, arXiv:2211.08403. Kornblith
    et al., "Similarity of neural network representations revisited", ICML 2019, arXiv:1905.00414.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skfusion import EnsembleClassifier
    >>> from skfusion.collect import Tail
    >>> from skfusion.diagnose import diagnose
    >>> from skfusion.nets import mlp_classifier
    >>> X, y = load_wine(return_X_y=True)
    >>> pool = (
    ...     EnsembleClassifier(mlp_classifier(), collect=Tail(), random_state=0).fit(X[::2], y[::2]).pool_
    ... )
    >>> report = diagnose(pool[-3:], X[1::2], y[1::2])
    >>> report.advice["verdict"]["soup"]
    'yes'
    """
    return report_on(pool, X, y, Recipes(), estimator, scoring, X_fit, n_points, tolerance, random_state, pairs)


def report_on(
    pool: ModelPool,
    X: Any,
    y: Any,
    recipes: Recipes,
    estimator: Any = None,
    scoring: Any = None,
    X_fit: Any = None,
    n_points: int = 11,
    tolerance: float = 0.02,
    random_state: int = 0,
    pairs: Pairs = "all",
) -> FusionReport:
    """Return what :func:`diagnose` does, with code in the terms of ``recipes``."""
    _check(pool, X, y, X_fit, n_points, tolerance)
    parts = families(pool)
    chosen, note = chosen_pairs(pool, parts, pairs, random_state)
    notes = [note] if note else []
    table, differ = weights_of(pool, parts, chosen)
    alone = is_of_one_architecture(pool, parts)
    measured = [] if X is None else [family_of(pool, index, alone, X, y, estimator, scoring, X_fit) for index in parts]
    data = measured[0].data if measured else None
    n_rows = 0 if data is None else len(data.rows)
    if measured and n_rows < LEAST_ROWS:
        raise ValueError(f"X has {n_rows} rows, which tell nothing: give at least {LEAST_ROWS}.")
    n_seen = 0 if data is None else pool.warn_of_leakage(data.rows, PURPOSE)
    members = members_of(pool, measured)
    profiles = {
        pair: profiles_of(f.data.states[i], f.data.states[j], f.data, f.units.symmetry, n_points, random_state)
        for f in measured
        for i, j, pair in pairs_within(pool, f.index, chosen)
    }
    layers: dict[tuple[str, str], pd.Series] = {}
    for family in (family for family in measured if len(family.index) > 1):
        by_layer, n_compared = similarity(family.data, random_state)
        if n_compared < n_rows:
            notes.append(f"CKA was taken on {n_compared} of the {n_rows} rows, chosen at random.")
        for i, j, pair in pairs_within(pool, family.index, chosen):
            layers[pair] = pd.Series({name: float(matrix[i, j]) for name, matrix in by_layer.items()}, dtype=float)
    scores, rows = scores_of(members, measured, random_state)
    if measured:
        add_lines(table, profiles)
        add_similarity(table, layers, measured)
    facts = Facts(
        members=members,
        pairs=table,
        pool=scores,
        basins=basins_of(pool, measured, table, tolerance + _ROUNDING),
        differ=differ,
        unmatched=next((family.units.reason for family in measured if family.units.reason), ""),
        tolerance=tolerance + _ROUNDING,
        score_name="score" if data is None else data.score_name,
        recipes=replace(
            recipes,
            net=recipes.net or pool[0].net is None or (estimator is not None and alone),
            kind="Regressor" if data is not None and data.task == "regression" else "Classifier",
            seed=random_state,
            batch_norm=any(family.data.has_batch_norm for family in measured),
        ),
        statistics=statistics_of(pool, table),
        rows=rows,
        n_rows=n_rows,
        n_fit=0 if data is None else data.n_fit,
        n_seen=n_seen,
        has_fit_rows=X_fit is not None,
    )
    return FusionReport(
        pairs=table,
        members=members,
        pool=scores,
        similarity=layers,
        basins=[basin.members for basin in facts.basins],
        advice=advice(facts),
        recommendation=recommend(facts),
        notes=[*remarks(facts), *notes, *(note for family in measured for note in family.units.notes)],
        profiles=profiles,
        tolerance=tolerance,
        n_rows=n_rows,
        loss_name="loss" if data is None else data.loss_name,
        score_name=facts.score_name,
    )


def _check(pool: ModelPool, X: Any, y: Any, X_fit: Any, n_points: int, tolerance: float) -> None:
    if not isinstance(pool, ModelPool):
        raise TypeError(
            f"pool must be a ModelPool; got {type(pool).__name__}. Fitted nets become one by "
            "ModelPool.from_estimators(nets)."
        )
    if len(pool) < 2:
        raise ValueError("A diagnosis compares at least two members; the pool has 1.")
    check_both(X, y)
    if X is None and X_fit is not None:
        raise ValueError("X_fit is to estimate statistics on; give X and y too, to judge on.")
    check_n_points(n_points)
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a finite number that is not negative; got {tolerance}.")
    pool.check_finite()
