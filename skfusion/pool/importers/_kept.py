"""Members that were kept while a search ran: from which store, of which classes, and what is said of those left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from skfusion._caller import warn_caller
from skfusion.pool._member import Member
from skfusion.pool.stores import DirectoryStore, Store


def opened(store: Any) -> Store:
    """Return a store that is given by itself, by its path, or by what keeps trials in it."""
    given: Any = getattr(store, "store", store)
    if isinstance(given, str | os.PathLike):
        return DirectoryStore(given)
    if not isinstance(given, Store):
        raise TypeError(
            f"store must be the path of a folder, a Store such as MemoryStore(), or the KeepTrials that has it; got a "
            f"{type(given).__name__}."
        )
    return given


def of_one_kind(members: Sequence[Member]) -> tuple[list[Member], np.ndarray | None, dict[str, str]]:
    """Return members that predict the same classes, these, and why others are left out.

    The columns of a network are those of its classes, and the classes that most networks have are those of the pool.
    Another estimator names its columns itself, so it may know some of the classes, in any order.
    """
    own: dict[str, tuple[Any, ...] | None] = {}
    for member in members:
        labels = member.meta.get("classes")
        own[member.name] = None if labels is None else tuple(labels)
    networks = Counter(own[m.name] for m in members if m.is_network)
    if networks:
        classes = networks.most_common(1)[0][0]
    else:
        present = {label for known in own.values() for label in known or ()}
        classes = tuple(sorted(present)) if present else None
    kept, left_out = [], {}
    for member in members:
        known = own[member.name]
        same = known == classes
        if not member.is_network and known is not None and classes is not None:
            same = {*known} <= {*classes}
        if same:
            kept.append(member)
        else:
            left_out[member.name] = f"its classes are {_shown(known)}, and those of the others {_shown(classes)}"
    return kept, None if classes is None else np.asarray(classes), left_out


def _shown(classes: tuple[Any, ...] | None) -> str:
    if classes is None:
        return "none"
    return str([*classes[:5]])[:-1] + (", ...]" if len(classes) > 5 else "]")


def note(what: str, left_out: dict[str, str]) -> None:
    """Warn of what is left out, with each reason once."""
    if not left_out:
        return
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    listed = "; ".join(f"{_some(names)}: {reason}" for reason, names in reasons.items())
    warn_caller(f"{len(left_out)} of the {what} are left out. {listed}.")


def _some(names: Iterable[str]) -> str:
    listed = [*names]
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
