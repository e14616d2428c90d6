"""The aligner family: the permutation that brings a state into the frame of another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import State
from skfusion.symmetry import Permutations, Symmetry


class Alignment(Permutations):
    """Permutations, with what was seen on the way to them.

    Parameters
    ----------
    perms : dict of ndarray
        Permutations by group.
    history : sequence of float, optional
        What was maximised: at the start, and after each sweep.
    matched : dict of float, optional
        Mean similarity of the units that were matched, by group.
    """

    def __init__(
        self,
        perms: Mapping[str, np.ndarray],
        history: Sequence[float] = (),
        matched: Mapping[str, float] | None = None,
    ):
        super().__init__(perms)
        self.history = [*history]
        self.matched = dict(matched or {})


class Aligner(Component, ABC):
    """Bring a state into the frame of a reference."""

    @abstractmethod
    def __call__(
        self, state: State, reference: State, symmetry: Symmetry, objective: Objective | None = None
    ) -> Alignment:
        """Return the permutations under which ``state`` is nearest to ``reference``.

        Parameters
        ----------
        state : State
            What is to be moved.
        reference : State
            The frame; of the same architecture.
        symmetry : Symmetry
            Which units may change places.
        objective : Objective, optional
            Data to compare activations on.

        Returns
        -------
        Alignment
            Permutations: ``symmetry.permute(found, state)`` computes the function of ``state``, in the frame of
            ``reference``. The inputs are not written.
        """

    def frame(
        self, states: Sequence[State], symmetry: Symmetry, objective: Objective | None = None
    ) -> list[Permutations]:
        """Bring many states into one frame, which is that of the first unless an aligner has a better one.

        Parameters
        ----------
        states : sequence of State
            K states of one architecture.
        symmetry : Symmetry
            Which units may change places.
        objective : Objective, optional
            Data to compare activations on.

        Returns
        -------
        list of dict of ndarray
            Permutations for each state.
        """
        first = states[0]
        return [symmetry.identity(), *(self(state, first, symmetry, objective) for state in states[1:])]
