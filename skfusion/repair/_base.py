"""The repairer family: re-estimate the statistics of a network that no optimiser has visited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import State


class Repairer(Component, ABC):
    """Re-estimate the statistics of a merged state."""

    @abstractmethod
    def __call__(self, state: State, members: Sequence[State], objective: Objective) -> State:
        """Return the repaired state.

        Parameters
        ----------
        state : State
            The merged state.
        members : sequence of State
            The states that it was merged from.
        objective : Objective
            The architecture and the inputs; labels are not read.

        Returns
        -------
        State
            A new state, or ``state`` itself where nothing needs a repair.
        """
