"""The K best members by held-out score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from skfusion._caller import warn_caller
from skfusion.objective import Objective
from skfusion.pool import ModelPool
from skfusion.select._base import Selector


class TopK(Selector):
    """Keep the members with the best held-out scores.

    Parameters
    ----------
    k : int, default=3
        How many to keep; all of a pool that has no more. A larger k gives more diverse members and worse ones.

    Notes
    -----
    Costs one evaluation a member. Without an objective the members' scores are used. Ties keep the pool's order.

    References
    ----------
    Zhou, Wu and Tang, "Ensembling neural networks: many could be better than all", Artificial Intelligence 137,
    2002, doi:10.1016/S0004-3702(02)00190-X.

    Examples
    --------
    >>> from skfusion.pool import Member, ModelPool
    >>> from skfusion.select import TopK
    >>> pool = ModelPool([Member(n, {}, score=s) for n, s in [("a", 0.7), ("b", 0.9), ("c", 0.8)]])
    >>> TopK(2)(pool).names
    ['b', 'c']
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __init__(self, k: int = 3):
        self.k = k

    def check(self) -> None:
        """Raise ``ValueError`` where no member would be kept; see :meth:`Selector.check`."""
        if self.k < 1:
            raise ValueError(f"TopK keeps at least one member; got k={self.k}.")

    def __call__(self, pool: ModelPool, objective: Objective | None = None) -> ModelPool:
        """Return the k best members in the pool's order; see :meth:`Selector.__call__`."""
        self.check()
        if objective is not None:
            scores = objective.scores(pool.states)
            pool = pool.replace([m.replace(score=s) for m, s in zip(pool, scores, strict=True)])
        unknown = [m.name for m in pool if math.isnan(m.score)]
        if len(unknown) == len(pool):
            raise ValueError(
                f"TopK needs scores, and members {unknown} have none; give an objective with held-out rows."
            )
        if unknown:
            warn_caller(f"The score of the members {unknown} is NaN, so that TopK ranks them last.")
        best = sorted(range(len(pool)), key=lambda i: math.inf if math.isnan(pool[i].score) else -pool[i].score)
        best = best[: self.k]
        return pool[sorted(best)]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"k": 1}
