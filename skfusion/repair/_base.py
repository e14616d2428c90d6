"""The repairer family: re-estimate the statistics of a network that no optimiser has visited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from skfusion._component import Component
from skfusion.objective import Objective, Wrapper
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


class Repaired(Wrapper):
    """An objective that judges states as they are once they are repaired; it keeps what methods report in a dict."""

    def __init__(self, objective: Objective, repair: Repairer, members: Sequence[State], reported: dict[str, Any]):
        super().__init__(objective)
        self._repair, self._members, self._reported = repair, members, reported

    def judged(self, state: State) -> State:
        return self._repair(self.whole(state), self._members, self.objective)

    def report(self, name: str, value: Any) -> None:
        self._reported[name] = value
