"""The aligner family: match the units of one network to those of another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from skfusion._component import Component
from skfusion.align._alignment import Alignment, PermutationAlignment
from skfusion.objective import Objective
from skfusion.state import State
from skfusion.symmetry import Symmetry


class Aligner(Component, ABC):
    """Align the units of a state with those of a reference, so that their weights can be averaged or compared."""

    needs_symmetry: ClassVar[bool] = True
    """Whether the symmetry of the architecture is needed, for which the module is traced."""

    @abstractmethod
    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> Alignment:
        """Return the alignment under which ``state`` is nearest to ``reference``.

        Parameters
        ----------
        state : State
            The state to align.
        reference : State
            The state whose units stay where they are; of the same architecture.
        symmetry : Symmetry, optional
            Which units may change places, as :func:`skfusion.tracing.symmetry_of` finds it. Needed unless
            ``needs_symmetry`` is false.
        objective : Objective, optional
            Data to compare activations on.

        Returns
        -------
        Alignment
            ``alignment.apply(state)`` is the aligned state. The inputs are not written.
        """

    def align_all(
        self, states: Sequence[State], symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> list[Alignment]:
        """Align many states with one another: with the first one, unless an aligner has a better way.

        Parameters
        ----------
        states : sequence of State
            K states of one architecture.
        symmetry : Symmetry, optional
            Which units may change places.
        objective : Objective, optional
            Data to compare activations on.

        Returns
        -------
        list of Alignment
            One for each state.
        """
        first, *others = states
        if symmetry is None:  # an alignment with itself moves nothing, of whatever kind it is
            unmoved = self(first, first, symmetry, objective)
        else:
            unmoved = PermutationAlignment(symmetry.identity(), symmetry)
        return [unmoved, *(self(state, first, symmetry, objective) for state in others)]


def given_symmetry(aligner: Aligner, symmetry: Symmetry | None) -> Symmetry:
    """Return the symmetry, or raise ``ValueError`` where an aligner that needs it got none."""
    if symmetry is None:
        raise ValueError(
            f"{aligner!r} needs to know which units may change places: give "
            "symmetry=skfusion.tracing.symmetry_of(module, example_inputs)."
        )
    return symmetry
