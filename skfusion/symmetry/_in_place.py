"""Permute the units of a state in its memory, where nobody else needs the state as it was."""

from __future__ import annotations

from copy import copy

from skfusion._numbers import place_of
from skfusion.state import State
from skfusion.symmetry._action import move, moved
from skfusion.symmetry._group import Permutations, same
from skfusion.symmetry._symmetry import Symmetry


def permute_in_place(symmetry: Symmetry, perms: Permutations, state: State) -> State:
    """Return a state with its units permuted, as :meth:`Symmetry.permute` does, in the memory of the given one.

    New memory, which takes longer than to permute, is only needed for a tied tensor that moves in several ways.

    Parameters
    ----------
    symmetry : Symmetry
        Of the architecture.
    perms : dict of ndarray
        Permutations by group; groups that are left out do not move.
    state : State
        A state whose tensors are changed.

    Returns
    -------
    State
        The inverse permutations, applied to it, restore the given state.
    """
    perms, out = symmetry.complete(perms), copy(state)
    names: dict[object, list[str]] = {}
    for name, tensor in state.items():
        names.setdefault(place_of(tensor) if tensor.numel() else name, []).append(name)
    for tied in names.values():
        known = [symmetry.axes[name] for name in tied if name in symmetry.axes]
        if len(known) == len(tied) and all(same(axes, known[0]) for axes in known):
            move(symmetry.tensor(tied[0], state), known[0], symmetry.groups, perms)
            continue
        for name in tied:
            if name in symmetry.axes:
                out[name] = moved(symmetry.tensor(name, state), symmetry.axes[name], symmetry.groups, perms)
    return out
