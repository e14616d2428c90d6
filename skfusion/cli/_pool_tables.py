"""Members of a pool on disk, as tables for a terminal and as records for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skfusion.cli._console import in_bytes
from skfusion.cli._grid import print_grid
from skfusion.pool import About, Contents, groups, letter

NONE = "–"
MOST_CLASSES = 10


def printable(text: Any) -> str:
    """Return a text without characters that a terminal would obey, as names come from strangers."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def listed(found: Contents) -> dict[str, Any]:
    """Return what ``ls`` says, for programs."""
    members = zip(found.members, groups(found.members), strict=True)
    return {
        "path": str(found.path),
        "classes": found.classes,
        "has_base": found.base is not None,
        "left_over": found.left_over,
        "members": [_record(member, group) for member, group in members],
    }


def _record(member: About, group: int | None) -> dict[str, Any]:
    return {
        "name": member.name,
        "score": member.score,
        "kind": member.kind,
        "architecture": group,
        "n_numbers": member.n_numbers,
        "n_bytes": member.n_bytes,
        "source": member.source,
        "meta": {key: value for key, value in member.meta.items() if key != "history"},
    }


def record(found: Contents, member: About) -> dict[str, Any]:
    """Return what ``show`` says, for programs."""
    tensors = None if member.tensors is None else {k: vars(t) for k, t in member.tensors.items()}
    arrays = {f"{part}_shape": found.shape_of(member, part) for part in ("rows", "predictions")}
    group = groups(found.members)[found.members.index(member)]
    return {
        **_record(member, group),
        "meta": member.meta,
        "same_architecture": _alike(found, member),
        **arrays,
        "tensors": tensors,
        "files": member.files,
    }


def _alike(found: Contents, member: About) -> list[str]:
    own = member.architecture
    return [] if own is None else [m.name for m in found.members if m is not member and m.architecture == own]


def print_listing(console: Console, found: Contents) -> None:
    """Print a row for each member, and a line on the pool."""
    numbers, sources = groups(found.members), [m.source for m in found.members]
    kinds = [m.kind if n is None else f"{m.kind} {letter(n)}" for m, n in zip(found.members, numbers, strict=True)]
    columns = {
        "member": [m.name for m in found.members],
        "score": [_score(m.score) for m in found.members],
        "kind": kinds,
        "numbers": [_count(m.n_numbers) for m in found.members],
        "size": [in_bytes(m.n_bytes or 0) for m in found.members],
        **({"source": [source or NONE for source in sources]} if any(sources) else {}),
    }
    columns = {heading: [*map(printable, cells)] for heading, cells in columns.items()}
    print_grid(console, columns, ("member", "source"), ("kind",), ("source", "numbers", "size", "kind"))
    for line in summary(found, numbers):
        console.print(escape(line), highlight=False, soft_wrap=True)


def summary(found: Contents, numbers: Iterable[int | None]) -> list[str]:
    """Return lines on a pool as a whole."""
    kinds = {number for number in numbers if number is not None}
    parts = [_plural(len(found.members), "member"), _plural(len(kinds), "architecture")]
    lines = [f"{', '.join(parts)}, {in_bytes(found.n_bytes)}."]
    if found.base is not None:
        lines.append("The members have a common start (base).")
    if found.classes is not None:
        names = [*map(printable, found.classes[:MOST_CLASSES].tolist())]
        more = ", ..." if len(found.classes) > MOST_CLASSES else ""
        lines.append(f"{_plural(len(found.classes), 'class', 'classes')}: {', '.join(names)}{more}.")
    if found.left_over:
        lines.append(
            f"{_plural(len(found.left_over), 'file')} left over, which no member has: see skfusion pool verify."
        )
    return lines


def print_member(console: Console, found: Contents, member: About, tensors: bool = True) -> None:
    """Print all that is known of a member; its tensors only where ``tensors`` says so."""
    alike, group = _alike(found, member), groups(found.members)[found.members.index(member)]
    rows, predictions = (found.shape_of(member, part) for part in ("rows", "predictions"))
    facts = {
        "score": _score(member.score),
        "kind": member.kind if group is None else f"{member.kind} {letter(group)}",
        "the same architecture": ", ".join(alike[:8]) + (", ..." if len(alike) > 8 else "")
        if alike
        else "no other member",
        "numbers": _count(member.n_numbers),
        "size": in_bytes(member.n_bytes or 0),
        "training rows": "unknown" if rows is None else _count(rows[0]),
        "held-out predictions": "none" if predictions is None else " x ".join(map(str, predictions)),
        **{key: _value(key, value) for key, value in member.meta.items()},
        **{f"file of the {part}": name for part, name in (member.files or {}).items()},
    }
    console.print(f"[bold]{escape(printable(member.name))}[/]", highlight=False)
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for key, value in facts.items():
        grid.add_row(escape(printable(key)), escape(printable(value)))
    console.print(grid)
    if tensors and member.tensors:
        grid = Table(box=SIMPLE_HEAD, pad_edge=False)
        grid.add_column("tensor", overflow="fold")
        grid.add_column("shape", justify="right")
        grid.add_column("dtype", justify="right")
        for name, tensor in member.tensors.items():
            shape = " x ".join(map(str, tensor.shape)) or "number"
            grid.add_row(escape(printable(name)), shape, escape(printable(tensor.dtype)))
        console.print(grid)


def _value(key: str, value: Any) -> str:
    """Return what is known of a member as a text: of a history its length, and the numbers at its end."""
    if key == "history" and isinstance(value, list) and value and isinstance(value[-1], dict):
        last = {k: v for k, v in value[-1].items() if isinstance(v, int | float) and not isinstance(v, bool)}
        ending = ", ".join(f"{k} {v:.4g}" for k, v in last.items())
        return f"{len(value)} epochs; at the end: {ending}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 1000 else f"{text[:1000]}..."


def _score(score: float) -> str:
    return NONE if math.isnan(score) else f"{score:.4g}"


def _count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def _plural(number: int, one: str, many: str | None = None) -> str:
    return f"1 {one}" if number == 1 else f"{number:,} {many or one + 's'}"
