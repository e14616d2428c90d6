"""The repairer family: mend the statistics of a network that no optimiser has visited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import State


class Repairer(Component, ABC):
    """Mend the statistics of a merged state."""

    @abstractmethod
    def __call__(self, state: State, members: Sequence[State], objective: Objective) -> State:
        """Return the mended state.

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
            A new state, or ``state`` itself where there is nothing to mend.
        """
