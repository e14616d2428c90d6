"""Can these networks be merged? All that can be measured of a pool, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skfusion.diagnose._report import FusionReport
from skfusion.diagnose.judge._advice import advice
from skfusion.diagnose.judge._notes import recommend, remarks
from skfusion.diagnose.judge._recipes import Recipes
from skfusion.diagnose.measure._chosen import Pairs, chosen_pairs, places
from skfusion.diagnose.measure._cka import similarity
from skfusion.diagnose.measure._facts import Facts
from skfusion.diagnose.measure._families import PURPOSE, Family, families, is_of_one_architecture, run
from skfusion.diagnose.measure._lines import Frame, frame_of, profiles_of
from skfusion.diagnose.measure._together import basins_of, scores_of
from skfusion.diagnose.render._tables import add_lines, add_similarity, members_of, statistics_of, weights_of
from skfusion.geometry import LEAST_ROWS
from skfusion.landscape import Profile
from skfusion.pool import ModelPool

_ROUNDING = 1e-9
"""Falls of whole rows are sums that need not be exact: one that is the tolerance counts as none."""


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
        At least two members. They may be of unlike architectures, or see unlike columns: then only predictions are
        compared between these.
    X, y : array-like, optional
        Rows that no member was trained on. Without them only weights are compared, which tells little.
    estimator : estimator or skorch net, optional
        How to run the members; a soup of the net that they carry when omitted.
    scoring : str or callable, optional
        The score, higher is better; accuracy or R2 when omitted.
    X_fit : array-like, optional
        Rows that statistics of BatchNorm, and the means and spreads for Repair, are estimated on, and that activations
        are matched on, such as those of training: labels are not needed. The rows of ``X`` when omitted, of which the
        labels are not read for this. Few rows, or rows unlike those of training, give bad statistics; notes tell.
    n_points : int, default=11
        Positions on each line, both ends and the middle included: an odd number. More find narrower barriers.
    tolerance : float, default=0.02
        A fall of the score up to this counts as none, in units of the score. A larger one finds more members alike.
    random_state : int, default=0
        Seed of the matching, and of the choice of rows for CKA and of pairs.
    pairs : {"all", "neighbours"} or int, default="all"
        Which pairs of members are looked at: all; those K - 1 of the least distances that join all K members; or a
        number of them that is drawn. A note tells how many of how many.

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
    log-loss and squared error, where they exceed the tolerance. What is not told apart is a maybe. An ensemble that
    scores no more than one network is a no. Members are judged with their own BatchNorm statistics and with
    recalibrated ones: where one gains by these, a note tells, and a soup that it beats by more than the tolerance, and
    by more than chance, is a maybe.

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
    >>> X, y = load_wine(return_X_y=True)
    >>> pool = EnsembleClassifier(collect=Tail(), random_state=0).fit(X[::2], y[::2]).pool_
    >>> report = diagnose(pool[-3:], X[1::2], y[1::2])
    >>> report.advice["verdict"]["soup"]
    'yes'
    """
    return report_on(pool, X, y, estimator, scoring, X_fit, n_points, tolerance, random_state, Recipes(), pairs)


def report_on(
    pool: ModelPool,
    X: Any,
    y: Any,
    estimator: Any,
    scoring: Any,
    X_fit: Any,
    n_points: int,
    tolerance: float,
    random_state: int,
    recipes: Recipes,
    which: Pairs = "all",
) -> FusionReport:
    """Return what :func:`diagnose` does, with code in the terms of ``recipes``."""
    _check(pool, X, y, X_fit, n_points, tolerance)
    parts = families(pool)
    chosen, partly = chosen_pairs(pool, parts, which, random_state)
    pairs, differ = weights_of(pool, parts, chosen)
    alone = is_of_one_architecture(pool, parts)
    found = [] if X is None else [run(pool, index, alone, X, y, estimator, scoring, X_fit) for index in parts]
    if found and len(found[0].data.rows) < LEAST_ROWS:
        raise ValueError(f"X has {len(found[0].data.rows)} rows, which tell nothing: give at least {LEAST_ROWS}.")
    n_seen = pool.warn_of_leakage(found[0].data.rows, PURPOSE) if found else 0
    members, notes = members_of(pool, found), [partly] if partly else []
    frames = [frame_of(family.data) if len(family.index) > 1 else (None, "", []) for family in found]
    profiles = dict(_lines(pool, found, frames, chosen, n_points, random_state))
    layers = {pair: s for family in found for pair, s in _similar(pool, family, chosen, random_state, notes)}
    scores, rows = scores_of(pool, members, found, frames, random_state)
    if found:
        add_lines(pairs, profiles)
        add_similarity(pairs, layers, _predictions(pool, found), found[0].data.task)
    data = found[0].data if found else None
    batch_norm = any(family.data.has_batch_norm for family in found)
    facts = Facts(
        members=members,
        pairs=pairs,
        pool=scores,
        basins=basins_of(pool, found, pairs, tolerance + _ROUNDING),
        unlike=differ,
        no_frame=next((why for _, why, _ in frames if why), ""),
        tolerance=tolerance + _ROUNDING,
        score_name="score" if data is None else data.score_name,
        recipes=replace(
            recipes,
            net=recipes.net or pool[0].net is None or (estimator is not None and alone),
            kind="Regressor" if data is not None and data.task == "regression" else "Classifier",
            seed=random_state,
            batch_norm=batch_norm,
        ),
        batch_norm=batch_norm,
        statistics=statistics_of(pool, pairs),
        rows=rows,
        n_rows=0 if data is None else len(data.rows),
        n_fit=0 if data is None else data.n_fit,
        n_seen=n_seen,
        own_fit=X_fit is not None,
    )
    return FusionReport(
        pairs=pairs,
        members=members,
        pool=scores,
        similarity=layers,
        basins=[basin.members for basin in facts.basins],
        advice=advice(facts),
        recommendation=recommend(facts),
        notes=[*remarks(facts), *notes, *(note for _, _, some in frames for note in some)],
        profiles=profiles,
        tolerance=tolerance,
        n_rows=facts.n_rows,
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
    if (X is None) != (y is None):
        raise ValueError("Give both X and y, or neither.")
    if X is None and X_fit is not None:
        raise ValueError("X_fit is to estimate statistics on; give X and y too, to judge on.")
    if n_points < 3 or n_points % 2 == 0:
        raise ValueError(f"n_points must be odd and at least 3, so that the middle is among them; got {n_points}.")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a finite number that is not negative; got {tolerance}.")
    pool.check_finite()


def _lines(
    pool: ModelPool,
    found: list[Family],
    frames: list[Frame],
    chosen: list[tuple[int, int]],
    n_points: int,
    random_state: int,
) -> Iterator[tuple[tuple[str, str], dict[str, Profile]]]:
    for family, (symmetry, _, _) in zip(found, frames, strict=True):
        for i, j in places(family.index, chosen):
            a, b = family.data.states[i], family.data.states[j]
            pair = (pool.names[family.index[i]], pool.names[family.index[j]])
            yield pair, profiles_of(a, b, family.data, symmetry, n_points, random_state)


def _similar(
    pool: ModelPool, family: Family, chosen: list[tuple[int, int]], random_state: int, notes: list[str]
) -> Iterator[tuple[tuple[str, str], pd.Series]]:
    if len(family.index) < 2:
        return
    by_layer, n_rows = similarity(family.data, random_state)
    if n_rows < len(family.data.rows):
        notes.append(f"CKA was taken on {n_rows} of the {len(family.data.rows)} rows, chosen at random.")
    for i, j in places(family.index, chosen):
        pair = (pool.names[family.index[i]], pool.names[family.index[j]])
        yield pair, pd.Series({name: float(matrix[i, j]) for name, matrix in by_layer.items()}, dtype=float)


def _predictions(pool: ModelPool, found: list[Family]) -> dict[str, np.ndarray]:
    by_index = {k: p for family in found for k, p in zip(family.index, family.predictions, strict=True)}
    return {pool.names[k]: by_index[k] for k in sorted(by_index)}
