"""What a member becomes in the folder of a pool: its files, and its entry in the index."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from skfusion.checkpoints import estimator_to_bytes
from skfusion.checkpoints import format as formats
from skfusion.pool._member import Member
from skfusion.pool.stores._reader import File
from skfusion.state import State

AddFile = Callable[[str, bytes], str]
"""Writes a file of some kind, and returns its name."""


def add_member(member: Member, classes: dict[str, Any] | None, add: AddFile) -> dict[str, Any]:
    """Write the files of a member and return its entry for the index."""
    if not isinstance(member.name, str):
        raise TypeError(f"The name of a member must be a string; got {member.name!r}.")
    entry, owner = _entry_of(member), f"member {member.name!r}"  # before the large write, as it may refuse the metadata
    for kind in ("rows", "predictions"):
        if (array := getattr(member, kind)) is not None:
            entry[kind] = add(kind, formats.array_to_bytes(array, f"The {kind} of {owner}"))
    known = {"member": {**entry, "state": None}, "classes": classes}
    if member.is_network:
        return {**entry, "state": add("state", formats.state_to_bytes(member.state, owner, known))}
    deferred = member.deferred("estimator")
    if deferred is not None and isinstance(deferred.read, File):
        data = deferred.read.copied(known)  # that of a pool, also where its types are not trusted here
    else:
        data = estimator_to_bytes(member.estimator, owner[0].upper() + owner[1:], known)
    return {**entry, "state": None, "estimator": add("estimator", data)}


def add_base(base: State, classes: dict[str, Any] | None, add: AddFile) -> str:
    """Write the common start of the members, and return the name of its file."""
    return add("state", formats.state_to_bytes(base, "the base", {"base": True, "classes": classes}))


def _entry_of(member: Member) -> dict[str, Any]:
    """Return the entry of a member in the index, without the names of its files."""
    try:
        meta = json.loads(json.dumps(dict(member.meta), sort_keys=True))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Member {member.name!r} cannot be stored. The meta of a member must be writable as JSON: {error}."
        ) from error
    score = formats.score_to_json(float(member.score))
    entry = {"name": member.name, "state": "", "score": score, "meta": formats.meta_to_json(meta)}
    return {**entry, "rows": None, "predictions": None}
