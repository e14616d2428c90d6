"""The merger family: many states to one state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import State, check_compatible, weighted_sum


class Merger(Component, ABC):
    """Turn many states of one architecture into one."""

    keeps_order: ClassVar[bool] = False
    """Whether the result depends on the order of the members by design."""
    needs_base: ClassVar[bool] = False
    """Whether the common starting point of the members is needed."""

    @abstractmethod
    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return a new state with the names, shapes, dtypes and devices of ``states[0]``.

        Parameters
        ----------
        states : sequence of State
            K states, K >= 1.
        base : State, optional
            The common starting point of the members.
        objective : Objective, optional
            Data to judge states on.

        Returns
        -------
        State
            The merged state; the inputs are not written.
        """


class LinearMerger(Merger):
    r"""A merger of the form :math:`\sum_k w_k \theta_k`."""

    @abstractmethod
    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return one coefficient a state.

        Parameters
        ----------
        states : sequence of State
            K states, K >= 1.
        base : State, optional
            The common starting point of the members.
        objective : Objective, optional
            Data to judge states on.

        Returns
        -------
        list of float
            K coefficients.
        """

    @final
    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the sum of the states with their coefficients; see :meth:`Merger.__call__`."""
        check_compatible(states)
        return weighted_sum(states, self.coefficients(states, base, objective))
