"""A symmetry as a table, and as a sentence for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skfusion.symmetry._group import Axes, Group


def reasons(notes: Sequence[str], pinned: Mapping[tuple[str, int], str]) -> str:
    """Return the first reasons, at most three, why axes of a network do not move, for a message."""
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
    rows = [(g.name, g.size, ", ".join(g.context), ", ".join(on[g.name]), "") for g in groups.values()]
    by_reason: dict[str, list[str]] = {}
    for (tensor, axis), reason in pinned.items():
        by_reason.setdefault(reason, []).append(f"{tensor}[{axis}]")
    rows += [("", 0, "", ", ".join(names), reason) for reason, names in by_reason.items()]
    described = pd.DataFrame(rows, columns=["group", "size", "indexed by", "axes", "pinned because"])
    described.attrs["notes"] = [*notes]
    return described
