"""The merger family: many states to one state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import Fused, State, check_compatible, weighted_sum


class Merger(Component, ABC):
    """Turn many states of one architecture into one."""

    order_dependent: ClassVar[bool] = False
    """Whether the result depends on the order of the members by design."""
    needs_base: ClassVar[bool] = False
    """Whether the common starting point of the members is needed."""
    needs_symmetry: ClassVar[bool] = False
    """Whether the merger asks which units of the architecture can change places."""

    @abstractmethod
    def __call__(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> State | Fused:
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
        State or Fused
            The merged state, with its module where the merger changes the architecture; the inputs are not written.
        """


class LinearMerger(Merger):
    r"""A merger of the form :math:`\sum_k w_k \theta_k`.

    One that needs the base is of the form :math:`\theta_0 + \sum_k w_k (\theta_k - \theta_0)`.
    """

    @abstractmethod
    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return one coefficient for each of the K states, as a list of float; see :meth:`Merger.__call__`."""

    @final
    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the sum of the states with their coefficients; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        return self.combine(states, self.coefficients(states, base, objective), base)

    @final
    def combine(self, states: Sequence[State], coefficients: Sequence[float], base: State | None = None) -> State:
        """Return the sum of states with given coefficients.

        Parameters
        ----------
        states : sequence of State
            K states.
        coefficients : sequence of float
            One a state; what they lack to a sum of one is the share of the base, where the merger needs it.
        base : State, optional
            The common starting point.

        Returns
        -------
        State
            The sum.
        """
        rest = 1 - math.fsum(coefficients)
        if not self.needs_base or base is None or abs(rest) < 1e-12:
            return weighted_sum(states, coefficients)
        return weighted_sum([*states, base], [*coefficients, rest])


def check_states(merger: Merger, states: Sequence[State], base: State | None) -> None:
    """Raise ``ValueError`` where states cannot be merged with each other, or with a base that is needed."""
    names = [f"{k}" for k in range(len(states))]
    check_compatible(states, names)
    if not merger.needs_base:
        return
    if base is None:
        raise ValueError(
            f"{type(merger).__name__} needs the common start of the members, and the pool has no base. Collect members "
            "with FineTunes(), or give the start of networks that you have: ModelPool(members, base=state)."
        )
    check_compatible([states[0], base], ["0", "base"])
