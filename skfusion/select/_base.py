"""The selector family: which members to fuse."""

from __future__ import annotations

from abc import ABC, abstractmethod

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.pool import ModelPool


class Selector(Component, ABC):
    """Choose members of a pool."""

    def check(self) -> None:
        """Raise ``ValueError`` where parameters are wrong; asked before members are trained."""

    @abstractmethod
    def __call__(self, pool: ModelPool, objective: Objective | None = None) -> ModelPool:
        """Return a non-empty sub-pool in the pool's order; members carry the scores that were used.

        Parameters
        ----------
        pool : ModelPool
            The members to choose from.
        objective : Objective, optional
            Held-out data to score members on.

        Returns
        -------
        ModelPool
            The chosen members.
        """
