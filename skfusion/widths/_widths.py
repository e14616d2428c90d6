"""Which groups of units the widths are of that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

from skfusion.symmetry import Symmetry

Widths = int | Mapping[str, int]


def sizes_for(symmetry: Symmetry, widths: Widths) -> dict[str, int]:
    """Return the number of units of each group that changes its width.

    Parameters
    ----------
    symmetry : Symmetry
        That of the network.
    widths : int or dict of int
        Units of every group, or of some: by the name of the group, of an axis that its units are on
        (``"conv.weight:0"``), or of the layer that makes them, all of whose layers and directions it means where it is
        recurrent.

    Returns
    -------
    dict of int
        Units by group, of groups whose number is another.

    Raises
    ------
    ValueError
        If a name is of no group, a width is below 1, or units that belong together would be of several numbers.
    """
    if not isinstance(widths, Mapping):
        if not symmetry.groups:
            raise ValueError("The network has no groups of units whose number could change.")
        widths = dict.fromkeys(symmetry.groups, widths)
    asked: dict[str, tuple[str, int]] = {}
    for name, width in widths.items():
        if not isinstance(width, Integral) or isinstance(width, bool) or width < 1:
            raise ValueError(f"The width of {name!r} must be a whole number of units, 1 at least; got {width!r}.")
        if not isinstance(name, str):
            raise TypeError(f"Widths are by the name of a layer or a group, a string; got the key {name!r}.")
        for group in _groups_of(symmetry, name):
            other, size = asked.setdefault(group, (name, int(width)))
            if size != width:
                raise ValueError(
                    f"{other!r} and {name!r} make the units of one stream, which has one width: got {size} and "
                    f"{width}. It runs through {_places(symmetry, group)}."
                )
    return {group: size for group, (_, size) in asked.items() if size != symmetry.groups[group].size}


def _groups_of(symmetry: Symmetry, name: str) -> list[str]:
    """Return the group that a name means, or those of all layers and directions of a recurrent layer."""
    if name in symmetry.groups:
        return [name]
    tensor, _, axis = name.rpartition(":")
    if tensor in symmetry.axes and axis.isdigit() and int(axis) < len(symmetry.axes[tensor]):
        return [_group_on(symmetry, tensor, int(axis), name)]
    made = [
        (key, d)
        for key, roles in symmetry.roles.items()
        for d, role in enumerate(roles)
        if key.rpartition(".")[0] == name
        and key not in symmetry.buffers
        and role != "in"
        and symmetry.shapes[key][d] > 1
    ]
    if not made:
        raise ValueError(
            f"{name!r} is no layer and no group of units; the groups are {[*symmetry.groups]}, and the axis of a "
            "tensor is named as in 'layer.weight:0'."
        )
    recurrent = [(k, d) for k, d in made if k.rpartition(".")[2].startswith("weight_ih_l")]
    some = recurrent or [next(((k, d) for k, d in made if symmetry.axes[k][d]), made[0])]
    return [*dict.fromkeys(_group_on(symmetry, key, d, name) for key, d in some)]


def _group_on(symmetry: Symmetry, tensor: str, axis: int, name: str) -> str:
    groups = [*dict.fromkeys(g for b in symmetry.axes[tensor][axis] for g in b.groups)]
    if not groups:
        why = symmetry.pinned.get((tensor, axis), "its units are distinguished by their position")
        raise ValueError(f"The width of {name!r} cannot change: axis {axis} of tensor {tensor!r} is pinned, as {why}.")
    if len(groups) > 1:
        raise ValueError(f"{name!r} has units of several groups, {groups}: give the width of one of them by its name.")
    return groups[0]


def _places(symmetry: Symmetry, group: str) -> str:
    """Return the tensors that hold the units of a group, in words."""
    names = [
        f"{key}[{axis}]"
        for key, parts in symmetry.axes.items()
        for axis, blocks in enumerate(parts)
        if any(group in b.groups for b in blocks)
    ]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
