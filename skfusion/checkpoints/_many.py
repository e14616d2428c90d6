"""Open several checkpoints, of which each may be the directory of a pool, and remove prefixes of names.

Wrappers such as ``DataParallel`` put prefixes before the names of a network's tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from skfusion.checkpoints._checkpoint import Checkpoint, PathLike, open_checkpoint
from skfusion.checkpoints.format import INDEX, Index

_WRAPPER = "module."


def open_many(
    paths: Sequence[PathLike],
    base: PathLike | None = None,
    key: str | None = None,
    strip_prefix: str | Sequence[str] = (),
) -> tuple[list[Checkpoint], Checkpoint | None]:
    """Return the checkpoints of paths, and the base; their check sums are not compared yet.

    The directory of a pool stands for its members, and its base for the one that is not given. Prefixes are taken off
    one after another, each with or without its last dot; ``ValueError`` is raised if no name has one, or if two names
    of a checkpoint would become one.
    """
    members: list[Checkpoint] = []
    start = None if base is None else open_checkpoint(base, key)
    for path in map(Path, paths):
        if not (path / INDEX).is_file():
            members.append(open_checkpoint(path, key))
            continue
        index = Index(path).refresh()
        members += [_opened(path, entry["state"], name) for name, entry in index.members.items()]
        if start is None and index.base is not None:
            start = _opened(path, index.base, "base")
    sources = [*members] if start is None else [*members, start]
    for prefix in [strip_prefix] if isinstance(strip_prefix, str) else strip_prefix:
        sources = _stripped(sources, prefix.removesuffix(".") + ".")
    return sources[: len(members)], None if start is None else sources[-1]


def _opened(pool: Path, file: str, name: str) -> Checkpoint:
    return replace(open_checkpoint(pool / file), name=f"{pool}[{name}]")


def _stripped(sources: Sequence[Checkpoint], prefix: str) -> list[Checkpoint]:
    """Remove a prefix from the names that have it; their checkpoints get a note."""
    counts = [sum(name.startswith(prefix) for name in c.state) for c in sources]
    if not any(counts):
        shown = ", ".join(f"{next(iter(c.state))!r} in {c.name}" for c in sources[:2])
        raise ValueError(f"No tensor has the prefix {prefix!r} of strip_prefix (--strip-prefix): the first is {shown}.")
    stripped = []
    for c, n in zip(sources, counts, strict=True):
        state = {name.removeprefix(prefix): t for name, t in c.state.items()}
        if len(state) < len(c.state):
            raise ValueError(f"{c.name} has a name with and without {prefix!r}, so strip_prefix cannot take it off.")
        note = f"{c.name}: the prefix {prefix} is taken off {n} of {len(state)} names."
        stripped.append(replace(c, state=state, notes=(*c.notes, note) if n else c.notes))
    return stripped


def without_wrapper(sources: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[str]]:
    """Remove the prefix of DataParallel from the names of some sources, where others lack it; return notes, too."""
    wrapped = [all(name.startswith(_WRAPPER) for name in c.state) for c in sources]
    if all(wrapped):
        return [*sources], []
    plain = [
        replace(c, state={name.removeprefix(_WRAPPER): t for name, t in c.state.items()}) if has else c
        for c, has in zip(sources, wrapped, strict=True)
    ]
    names = [c.name for c, has in zip(sources, wrapped, strict=True) if has]
    return plain, [f"{name}: the prefix {_WRAPPER} of DataParallel is taken off, as others lack it." for name in names]


def differing_prefixes(sources: Sequence[Checkpoint]) -> str:
    """Return a sentence on the first two sources whose names differ by a prefix, and the remedy; else nothing.

    It is empty, too, where no prefix would make more than half of the names equal that are not so now.
    """
    first = sources[0]
    for other in sources[1:]:
        a, b = _between(first.state, other.state)
        if a or b:
            first_has = f"with {a!r} in {first.name}" if a else f"without {b!r} in {first.name}"
            other_has = "without it" if not b else f"with {b!r}" if a else "with it"
            prefixes = [p for p in (a, b) if p]
            options = " ".join(f"--strip-prefix {p}" for p in prefixes)
            return (
                f"The names begin {first_has} and {other_has} in {other.name}: give strip_prefix={prefixes!r} "
                f"({options})."
            )
    return ""


def _between(a: Collection[str], b: Collection[str]) -> tuple[str, str]:
    """Return the prefixes of two collections of names without which most of them are equal, empty where none are."""
    pairs = [(_longer(a, b), ""), ("", _longer(b, a)), _apart(a, b)]
    for p, q in pairs:
        if p or q:
            rest = {name.removeprefix(q) for name in b}
            equal = sum(name.removeprefix(p) in rest for name in a)
            if 2 * (equal - len({*a} & {*b})) > min(len(a), len(b)):
                return p, q
    return "", ""


def _longer(a: Collection[str], b: Collection[str]) -> str:
    """Return what most names of a have before a name of b."""
    known = {*b}
    votes = Counter(name[: k + 1] for name in a for k in range(len(name)) if name[k] == "." and name[k + 1 :] in known)
    return votes.most_common(1)[0][0] if votes else ""


def _apart(a: Collection[str], b: Collection[str]) -> list[str]:
    """Return the prefix that all names of a share, and that of b, without the parts that both have at their end."""
    p, q = (_shared_start([name.split(".")[:-1] for name in names]) for names in (a, b))
    n = len(_shared_start([p[::-1], q[::-1]]))
    return ["".join(f"{part}." for part in parts[: len(parts) - n]) for parts in (p, q)]


def _shared_start(lists: Sequence[Sequence[str]]) -> list[str]:
    alike = takewhile(lambda parts: len({*parts}) == 1, zip(*lists, strict=False))
    return [parts[0] for parts in alike]
