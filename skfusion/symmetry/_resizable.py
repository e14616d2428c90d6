"""Which groups of units may be mixed by a matrix, and so may be of other numbers in another network."""

from __future__ import annotations

from collections.abc import Iterator

from skfusion.symmetry._roles import BOTH, IN
from skfusion.symmetry._runs import runs_of
from skfusion.symmetry._symmetry import Symmetry


def why_no_mixing(symmetry: Symmetry, group: str) -> str:
    """Return why the units of a group cannot be mapped to another number of units; nothing where they can be.

    Parameters
    ----------
    symmetry : Symmetry
        That of the network.
    group : str
        A name of its groups.

    Returns
    -------
    str
        What to say after a colon, with the tensor; empty where a matrix may mix the units.
    """
    if symmetry.groups[group].context or any(group in g.context for g in symmetry.groups.values()):
        return "its units are nested, as the channels of attention heads"
    for name, axes in symmetry.axes.items():
        here = [(d, b) for d, blocks in enumerate(axes) for b in blocks if group in b.groups]
        if not here:
            continue
        if any(len(b.groups) > 1 or b.within for _, b in here):
            return f"its units share axis {here[0][0]} of tensor {name!r} with others"
        if any(symmetry.roles[name][d] == BOTH for d, _ in here):
            return f"tensor {name!r} both makes and reads its units"
        if len({d for d, _ in made_on(symmetry, name)}) > 1:
            return f"tensor {name!r} makes units on several axes"
        try:
            for d, _ in here:
                runs_of(axes[d], group, f"axis {d} of tensor {name!r}")
        except ValueError as error:
            return str(error).rstrip(".")
    return ""


def made_on(symmetry: Symmetry, name: str) -> Iterator[tuple[int, str]]:
    """Yield each axis of a tensor on which units of a group are made or scaled, and the group.

    Parameters
    ----------
    symmetry : Symmetry
        That of the network.
    name : str
        The tensor.

    Yields
    ------
    tuple of (int, str)
        An axis and a group.
    """
    for axis, (blocks, role) in enumerate(zip(symmetry.axes.get(name, ()), symmetry.roles.get(name, ()), strict=True)):
        for group in dict.fromkeys(g for b in blocks for g in b.groups):
            if role != IN:
                yield axis, group
