"""The aligner family, which matches the units of one network to those of another, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import State
from skfusion.symmetry import Permutations, Symmetry


class Alignment(ABC):
    """A map under which the units of a network correspond to those of a reference."""

    @abstractmethod
    def apply(self, state: State) -> State:
        """Return a state with its units aligned to those of the reference.

        Parameters
        ----------
        state : State
            The state that was aligned, or another one of the same network, such as an earlier checkpoint.

        Returns
        -------
        State
            The input is not written.
        """

    @abstractmethod
    def describe(self) -> Any:
        """Return a table of what happens to each group of units.

        Returns
        -------
        DataFrame
            A row for each group.
        """


@final
class PermutationAlignment(Alignment, Mapping[str, np.ndarray]):
    """An alignment that permutes units, so that the network computes the same function.

    It is a mapping, too: ``alignment[group]`` says which unit of the state takes each place. Two are equal where their
    permutations are.

    Parameters
    ----------
    permutations : dict of ndarray
        Permutations by group; groups that are left out do not move.
    symmetry : Symmetry
        The groups, and where their units are in the tensors.
    history : sequence of float, optional
        What was maximised: at first, and after each sweep.
    matched : dict of float, optional
        Mean similarity of the units that were matched, by group.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import PermutationAlignment
    >>> from skfusion.symmetry import Symmetry
    >>> state = {
    ...     "0.weight": torch.tensor([[1.0], [2.0], [3.0]]),
    ...     "1.weight": torch.tensor([[1.0, 2.0, 3.0]]),
    ... }
    >>> symmetry = Symmetry.of_axes({"0.weight": ("hidden", None), "1.weight": (None, "hidden")}, state)
    >>> alignment = PermutationAlignment({"hidden": [1, 0, 2]}, symmetry)
    >>> alignment.apply(state)["1.weight"].tolist()
    [[2.0, 1.0, 3.0]]
    >>> alignment.describe()[["group", "size", "moved"]].values.tolist()
    [['hidden', 3, 2]]
    """

    def __init__(
        self,
        permutations: Permutations,
        symmetry: Symmetry,
        history: Sequence[float] = (),
        matched: Mapping[str, float] | None = None,
    ):
        self._permutations = {name: np.asarray(p) for name, p in permutations.items()}
        self.symmetry = symmetry
        self.history = tuple(history)
        self.matched = dict(matched or {})

    def __getitem__(self, group: str) -> np.ndarray:
        return self._permutations[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._permutations)

    def __len__(self) -> int:
        return len(self._permutations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PermutationAlignment):
            return NotImplemented
        return self.keys() == other.keys() and all(np.array_equal(p, other[name]) for name, p in self.items())

    def __repr__(self) -> str:
        return f"PermutationAlignment({len(self)} groups, {sum(map(_n_moved, self.values()))} units moved)"

    def apply(self, state: State) -> State:
        """Return a state with its units permuted; see :meth:`Alignment.apply`.

        It computes what ``state`` computes; tensors that do not move are shared with it.
        """
        return self.symmetry.permute(self, state)

    def describe(self) -> Any:
        """Return a table of size, number of moved units and mean similarity by group; see :meth:`Alignment.describe`.

        The similarity is that of the units that were matched, and NaN where it was not measured. ``attrs["history"]``
        has the history.
        """
        rows = [(name, p.shape[-1], _n_moved(p), self.matched.get(name, float("nan"))) for name, p in self.items()]
        return described(rows, ["group", "size", "moved", "similarity"], self.history)


def described(rows: Sequence[tuple[Any, ...]], columns: Sequence[str], history: Sequence[float]) -> Any:
    """Return the table of an alignment, with its history in ``attrs``."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=[*columns])
    table.attrs["history"] = [*history]
    return table


def _n_moved(permutation: np.ndarray) -> int:
    return int((permutation != np.arange(permutation.shape[-1])).sum())


class Aligner(Component, ABC):
    """Align the units of a state with those of a reference, so that their weights can be averaged or compared."""

    needs_symmetry: ClassVar[bool] = True
    """Whether the symmetry of the architecture is needed, for which the module is traced."""
    needs_general: ClassVar[bool] = False
    """Whether symmetries beyond permutations are needed, and the reference moves to its canonical form, too."""
    takes_widths: ClassVar[bool] = False
    """Whether a state may have hidden layers of other widths than the reference, of whose widths it is then made."""

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
        """Return an alignment for each of many states; see :meth:`Aligner.__call__`.

        They are aligned with the first one, unless an aligner has a better way.
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
