"""Read a pool back from its states alone, where its index was lost or damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from skfusion._caller import warn_caller
from skfusion.checkpoints import format as formats
from skfusion.checkpoints import read_known_estimator
from skfusion.checkpoints.format import DATA_FILE, PoolFormatError
from skfusion.pool._member import Member
from skfusion.pool.stores._pools import PoolParts
from skfusion.pool.stores._reader import Reader, Shared
from skfusion.pool.stores._remote import Remote, place_of
from skfusion.state import State

_OF_MEMBERS = "state-", "estimator-"
_READERS: dict[str, Any] = {
    "state": formats.read_known,
    "estimator": lambda path: (None, read_known_estimator(path)),  # nothing of it is built before it is used
}


def recovered(path: Any, trusted: Collection[Any]) -> PoolParts:
    """Return all members whose files are in a directory as the parts of a pool; see :meth:`ModelPool.recover`."""
    place = place_of(path)
    if isinstance(place, Remote):
        place.fetch_all()
    elif not place.is_dir():
        raise FileNotFoundError(f"There is no directory {place}. Give the one that holds the state files.")
    reader = Reader(place, trusted)
    paths = [p for p in reader.directory.iterdir() if DATA_FILE.fullmatch(p.name) and p.name.startswith(_OF_MEMBERS)]
    members: dict[str, Member] = {}
    base: State | None = None
    classes: dict[str, None] = {}
    shared: dict[str, Shared] = {}
    notes: list[str] = []
    for file in sorted(paths, key=lambda p: (-p.lstat().st_mtime_ns, p.name)):  # the latest first
        kind = file.name.partition("-")[0]
        try:
            state, known = reader.read(file.name, f"a {kind}", _READERS[kind])
        except PoolFormatError as error:
            notes.append(f"{file.name} is left out, as it {_fault(error)}.")
            continue
        if known.get("classes") is not None:
            classes[json.dumps(known["classes"], sort_keys=True)] = None
        if known.get("base") is True and base is None:
            base = state
            continue
        member = _member(reader, file.name, state, known.get("member"), shared, notes)
        if member.name in members:
            notes.append(f"A second {kind}, an older one, has the name {member.name!r}: it has its file's, too.")
            member = member.replace(name=f"{member.name} ({file.stem[:14]})")
        members[member.name] = member
    if not members:
        why = f": {notes[0]}" if notes else "."
        raise PoolFormatError(f"{reader.place} holds no state file of a pool that can be read{why}")
    if notes:
        warn_caller(f"{reader.place} was not read back as a whole: {' '.join(notes)}")
    labels = formats.classes_from_json(json.loads(next(iter(classes)))) if len(classes) == 1 else None
    return sorted(members.values(), key=lambda m: _natural(m.name)), base, labels


def _member(
    reader: Reader, file: str, state: State | None, entry: Any, shared: dict[str, Shared], notes: list[str]
) -> Member:
    """Return the member in a file, whose ``entry`` may be damaged; arrays of rows are those in ``shared``."""
    parts = {"state": file} if state is not None else {"state": None, "estimator": file}
    try:
        entry = {**entry, **parts}
        formats.check_entry(entry)
    except (KeyError, TypeError, ValueError, OverflowError):  # of format 1, or crafted
        entry = {"name": file.partition(".")[0], **parts, "score": None, "meta": {}}
    for part in ("rows", "predictions"):
        try:
            getattr(reader.member(entry, shared), part)
        except PoolFormatError as error:
            notes.append(f"The {part} of member {entry['name']!r} are left out, as {entry[part]} {_fault(error)}.")
            entry[part] = None
    member = reader.member(entry, shared)
    return member if state is None else member.replace(state=state)


def _fault(error: PoolFormatError) -> str:
    return "is missing" if ", is missing." in str(error) else "is damaged"


def _natural(name: str) -> list[Any]:
    """Return a key that sorts numbers in names by their values."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
