"""Members of a pool as minima of the loss, joined by paths of low loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skfusion.align import Aligner
from skfusion.connect import Connector
from skfusion.estimators.support import InUnit, in_loss_units
from skfusion.evaluate._pool_on_data import pool_on_data, statistics_of_inner_points
from skfusion.landscape import MinimaGraph, join_minima
from skfusion.objective import loss_scale
from skfusion.pool import ModelPool


def minima_of(
    pool: ModelPool,
    X: Any,
    y: Any,
    *,
    estimator: Any = None,
    align: Aligner | None = None,
    connect: Connector | None = None,
    n_paths: int | None = None,
    n_points: int = 61,
    scoring: Any = None,
) -> MinimaGraph:
    """Join the members of a pool by paths of low loss, and find the lowest passes between them.

    Parameters
    ----------
    pool : ModelPool
        Members of one architecture, two or more.
    X, y : array-like
        Rows that paths are trained on, and that losses are taken on: those of the members' own training show the
        landscape that the members were trained in.
    estimator : estimator or skorch net, optional
        How to run the members; the net that they carry when omitted.
    align : Aligner, optional
        How to match the units of the members, which makes paths shorter; they stay as they are when omitted.
    connect : Connector, optional
        How to join two members; ``AutoNEB()`` when omitted.
    n_paths : int, optional
        Most paths to train; K members need K - 1, and further ones improve the spanning tree.
    n_points : int, default=61
        Positions of each path at which the loss is taken. More find narrower passes.
    scoring : str or callable, optional
        The score; accuracy or R2 when omitted.

    Returns
    -------
    MinimaGraph
        The paths by the names of the members, their saddles, their minimum spanning tree, and groups of members that
        could not be joined.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skfusion import EnsembleClassifier
    >>> from skfusion.collect import Seeds
    >>> from skfusion.connect import PolyChain
    >>> from skfusion.diagnose import minima_of
    >>> X, y = load_iris(return_X_y=True)
    >>> pool = EnsembleClassifier(collect=Seeds(3), random_state=0).fit(X, y).pool_
    >>> graph = minima_of(pool, X, y, connect=PolyChain(n_epochs=5), n_paths=2)
    >>> len(graph.tree), len(graph.components())
    (2, 1)
    """
    data = pool_on_data(pool, X, y, estimator, scoring, purpose=None)
    states = data.states if align is None else data.aligned(align, pool)
    unit = loss_scale(data.objective) if data.task == "regression" else 1.0
    graph = join_minima(
        dict(zip(pool.names, states, strict=True)),
        InUnit(data.objective, unit),
        connect,
        n_paths=n_paths,
        n_points=n_points,
        repair=statistics_of_inner_points(data.runner.module),
    )
    return replace(graph, paths={edge: in_loss_units(path, unit) for edge, path in graph.paths.items()})
