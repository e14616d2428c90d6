"""Prefixes of names: what wrappers put before the names of a network's tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import takewhile

from skfusion.pool._checkpoint import Checkpoint

_WRAPPER = "module."


def without_prefixes(
    members: Sequence[Checkpoint], base: Checkpoint | None, prefixes: str | Sequence[str]
) -> tuple[list[Checkpoint], Checkpoint | None]:
    """Take prefixes off the names of tensors, where they are there.

    Parameters
    ----------
    members : sequence of Checkpoint
        The checkpoints.
    base : Checkpoint or None
        Their start.
    prefixes : str or sequence of str
        Such as ``"model."``; the dot may be left out. They are taken off in their order.

    Returns
    -------
    members : list of Checkpoint
        With a note on each that has changed.
    base : Checkpoint or None
        As well.

    Raises
    ------
    ValueError
        If no name has a prefix, or two names of a checkpoint would be one.
    """
    sources = [*members] if base is None else [*members, base]
    for prefix in [prefixes] if isinstance(prefixes, str) else prefixes:
        sources = _stripped(sources, prefix.removesuffix(".") + ".")
    return sources[: len(members)], None if base is None else sources[-1]


def _stripped(sources: Sequence[Checkpoint], prefix: str) -> list[Checkpoint]:
    counts = [sum(name.startswith(prefix) for name in c.state) for c in sources]
    if not any(counts):
        shown = ", ".join(f"{next(iter(c.state))!r} in {c.name}" for c in sources[:2])
        raise ValueError(f"No tensor has the prefix {prefix!r} of strip_prefix (--strip-prefix): the first is {shown}.")
    found = [*sources]
    for k, (c, n) in enumerate(zip(sources, counts, strict=True)):
        state = {name.removeprefix(prefix): t for name, t in c.state.items()}
        if len(state) < len(c.state):
            raise ValueError(f"{c.name} has a name with and without {prefix!r}, so strip_prefix cannot take it off.")
        note = f"{c.name}: the prefix {prefix} is taken off {n} of {len(state)} names."
        found[k] = replace(c, state=state, notes=(*c.notes, note) if n else c.notes)
    return found


def without_wrapper(sources: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[str]]:
    """Take the prefix of DataParallel off the names of a source, where others lack it."""
    found, notes = [*sources], []
    wrapped = [k for k, c in enumerate(sources) if all(name.startswith(_WRAPPER) for name in c.state)]
    for k in wrapped if len(wrapped) < len(sources) else ():
        found[k] = replace(found[k], state={name.removeprefix(_WRAPPER): t for name, t in found[k].state.items()})
        notes.append(f"{found[k].name}: the prefix {_WRAPPER} of DataParallel is taken off, as others lack it.")
    return found, notes


def differing_prefixes(sources: Sequence[Checkpoint]) -> str:
    """Return a sentence on the first two sources whose names differ by a prefix, and the remedy; else nothing.

    Parameters
    ----------
    sources : sequence of Checkpoint
        The checkpoints.

    Returns
    -------
    str
        Empty where no prefix would make more than half of the names equal that are not so now.
    """
    first = sources[0]
    for other in sources[1:]:
        a, b = _between(first.state, other.state)
        if a or b:
            first_has = f"with {a!r} in {first.name}" if a else f"without {b!r} in {first.name}"
            other_has = "without it" if not b else f"with {b!r}" if a else "with it"
            given = [p for p in (a, b) if p]
            options = " ".join(f"--strip-prefix {p}" for p in given)
            told = f"The names begin {first_has} and {other_has} in {other.name}"
            return f"{told}: give strip_prefix={given!r} ({options})."
    return ""


def _between(a: Collection[str], b: Collection[str]) -> tuple[str, str]:
    """Return the prefixes of two collections of names without which most of them are equal, empty where none are."""
    pairs = [(_longer(a, b), ""), ("", _longer(b, a)), _apart(_shared_start(a), _shared_start(b))]
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


def _shared_start(names: Collection[str]) -> str:
    low, high = min(names).split(".")[:-1], max(names).split(".")
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
    return "".join(f"{part}." for part, _ in shared)


def _apart(p: str, q: str) -> tuple[str, str]:
    """Take off the parts that two prefixes share at their end."""
    a, b = p.split(".")[:-1], q.split(".")[:-1]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return "".join(f"{part}." for part in a), "".join(f"{part}." for part in b)
