"""A symmetry as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skfusion.symmetry._group import Axes, Group


def reasons(notes: Sequence[str], pinned: Mapping[tuple[str, int], str]) -> str:
    """Return the first reasons why axes of a network do not move, for a message.

    Parameters
    ----------
    notes : sequence of str
        Of its symmetry.
    pinned : dict of str
        Why an axis does not move, by (tensor, axis).

    Returns
    -------
    str
        Three of them at most.
    """
    return "; ".join([*dict.fromkeys([*notes, *pinned.values()])][:3])


def table(
    groups: Mapping[str, Group],
    axes: Mapping[str, Axes],
    pinned: Mapping[tuple[str, int], str],
    notes: Sequence[str],
) -> Any:
    """Return a row for each group, and for each reason why axes do not move."""
    import pandas as pd

    on: dict[str, list[str]] = {name: [] for name in groups}
    for tensor, parts in axes.items():
        for axis, blocks in enumerate(parts):
            for name in dict.fromkeys(g for b in blocks for g in b.groups):
                on[name].append(f"{tensor}[{axis}]")
    rows = [
        {
            "group": g.name,
            "size": g.size,
            "indexed by": ", ".join(g.context),
            "axes": ", ".join(on[g.name]),
            "pinned because": "",
        }
        for g in groups.values()
    ]
    still: dict[str, list[str]] = {}
    for (tensor, axis), reason in pinned.items():
        still.setdefault(reason, []).append(f"{tensor}[{axis}]")
    rows += [
        {"group": "", "size": 0, "indexed by": "", "axes": ", ".join(names), "pinned because": reason}
        for reason, names in still.items()
    ]
    found = pd.DataFrame(rows, columns=["group", "size", "indexed by", "axes", "pinned because"])
    found.attrs["notes"] = [*notes]
    return found
