"""Pairs of members: how far apart they are, and what lies on the line between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from skfusion.evaluate._pool_on_data import check_both, pool_on_data, statistics_of_inner_points
from skfusion.geometry import geometry
from skfusion.landscape import loss_along, segment
from skfusion.pool import ModelPool

WAYS = {
    "raw": "as they are",
    "line": "recalibrated",
    "weights": "weights matched",
    "weights_repair": "weights matched, Repair",
    "activations": "activations matched",
    "activations_repair": "activations matched, Repair",
}
"""Ways to average two members, with words for them."""


def pairwise(
    pool: ModelPool, X: Any = None, y: Any = None, *, estimator: Any = None, scoring: Any = None, n_points: int = 5
) -> pd.DataFrame:
    r"""Compare each pair of members of a pool.

    Parameters
    ----------
    pool : ModelPool
        Members of one architecture that see the same columns; :func:`diagnose` takes others too.
    X, y : array-like, optional
        Data that no member was trained on. Without it, only weights are compared.
    estimator : estimator or skorch net, optional
        How to run the members; a soup of the net that they carry when omitted.
    scoring : str or callable, optional
        The score; accuracy or R2 when omitted.
    n_points : int, default=5
        Positions on the line between two members at which the loss is taken, both ends and the middle included: an
        odd number. More find narrower barriers.

    Returns
    -------
    DataFrame
        One row a pair, by the names of its members. Without data, the columns are:

        - ``distance``: Euclidean, of the weights.
        - ``cosine``: of the task vectors :math:`\theta_k - \theta_0`, from -1 to 1. Near 1, both have learned the same.
          NaN where the pool has no base, as the next one.
        - ``sign_conflict``: share of the weights that the two moved in opposite directions, among those that both
          moved. 0.5 is chance.

        With data there are also:

        - ``barrier``: the largest excess of the loss over the line between the two ends, in units of the loss. Near 0,
          the two are in one basin, and a soup of them is worth trying.
        - ``midpoint_score``: the score of the mean of the two, its BatchNorm statistics recalibrated on the rows
          of X, of which the labels are not read for this.
        - ``gain``: that score, less the better one of the two ends.

    Notes
    -----
    Costs K (K - 1) / 2 pairs of ``n_points`` evaluations for K members.

    References
    ----------
    Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020, arXiv:1912.05671.

    Examples
    --------
    >>> import torch
    >>> from skfusion import ModelPool
    >>> from skfusion.diagnose import pairwise
    >>> from skfusion.pool import Member
    >>> a, b = (Member(n, {"w": torch.tensor([w, 4.0])}) for n, w in [("a", 3.0), ("b", -3.0)])
    >>> pairwise(ModelPool([a, b], {"w": torch.zeros(2)})).round(2).to_dict("index")
    {('a', 'b'): {'distance': 6.0, 'cosine': 0.28, 'sign_conflict': 0.5}}
    """
    if len(pool) < 2:
        raise ValueError(f"A pair needs two members; the pool has {len(pool)}.")
    check_n_points(n_points)
    check_both(X, y)
    pool.check_compatible()
    weights = geometry(pool.states, pool.base)
    pairs = [*combinations(range(len(pool)), 2)]
    columns = ("distance", "cosine", "sign_conflict")
    table = pd.DataFrame(
        {name: [float(getattr(weights, name)[i, j]) for i, j in pairs] for name in columns},
        index=pair_index(pool.names, pairs),
    )
    if X is None:
        return table
    data = pool_on_data(pool, X, y, estimator, scoring)
    repair = statistics_of_inner_points(data.runner.module)
    profiles = [loss_along(segment(data.states[i], data.states[j]), data.objective, n_points, repair) for i, j in pairs]
    table["barrier"] = [profile.barrier for profile in profiles]
    table["midpoint_score"] = [profile.score[n_points // 2] for profile in profiles]
    table["gain"] = table["midpoint_score"] - [max(profile.score[0], profile.score[-1]) for profile in profiles]
    return table


def pair_index(names: Sequence[str], pairs: Iterable[tuple[int, int]]) -> pd.MultiIndex:
    """Return the index of a table with one row a pair of members, which are given by their positions."""
    return pd.MultiIndex.from_tuples([(names[i], names[j]) for i, j in pairs], names=["member", "other"])


def check_n_points(n_points: int) -> None:
    """Raise ``ValueError`` where the middle of a line would not be evaluated."""
    if n_points < 3 or n_points % 2 == 0:
        raise ValueError(f"n_points must be odd and at least 3, so that the middle is among them; got {n_points}.")
