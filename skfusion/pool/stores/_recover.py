"""Read a pool back from its states alone, where its index was lost or damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from skfusion._caller import warn_caller
from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import DATA_FILE, PoolFormatError
from skfusion.pool._member import Member
from skfusion.pool.stores._directory_store import PoolParts, read_file, read_member
from skfusion.state import State


def recovered(directory: Path) -> PoolParts:
    """Return all states in a directory as the parts of a pool; see :meth:`ModelPool.recover`."""
    if not directory.is_dir():
        raise FileNotFoundError(f"There is no directory {directory}. Give the one that holds the state files.")
    paths = [p for p in directory.iterdir() if DATA_FILE.fullmatch(p.name) and p.name.startswith("state-")]
    members: dict[str, Member] = {}
    base: State | None = None
    classes: dict[str, None] = {}
    rows: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for path in sorted(paths, key=lambda p: (-p.lstat().st_mtime_ns, p.name)):  # the latest first
        try:
            state, known = read_file(formats.read_known, path, "a state")
        except PoolFormatError as error:
            notes.append(f"{path.name} is left out, as it {_fault(error)}.")
            continue
        if known.get("classes") is not None:
            classes[json.dumps(known["classes"], sort_keys=True)] = None
        if known.get("base") is True and base is None:
            base = state
            continue
        member = _member(path, state, known.get("member"), rows, notes)
        if member.name in members:
            notes.append(f"A second state, an older one, has the name {member.name!r}: it has its file's, too.")
            member = member.replace(name=f"{member.name} ({path.stem[:14]})")
        members[member.name] = member
    if not members:
        why = f": {notes[0]}" if notes else "."
        raise PoolFormatError(f"{directory} holds no state file of a pool that can be read{why}")
    if notes:
        warn_caller(f"{directory} was not read back as a whole: {' '.join(notes)}")
    labels = formats.classes_from_json(json.loads(next(iter(classes)))) if len(classes) == 1 else None
    return sorted(members.values(), key=lambda m: _natural(m.name)), base, labels


def _member(path: Path, state: State, entry: Any, rows: dict[str, np.ndarray], notes: list[str]) -> Member:
    """Return the member in a file, whose ``entry`` may be damaged; arrays of rows are looked up in ``rows``."""
    try:
        entry = {**entry, "state": path.name}
        formats.check_entry(entry)
    except (KeyError, TypeError, ValueError, OverflowError):  # of format 1, or crafted
        return Member(path.stem, state)
    for part in ("rows", "predictions"):
        try:
            if entry.get(part) is not None:
                read_file(formats.read_array, path.parent / entry[part], "an array")
        except PoolFormatError as error:
            notes.append(f"The {part} of member {entry['name']!r} are left out, as {entry[part]} {_fault(error)}.")
            entry[part] = None
    return read_member(path.parent, entry, rows)


def _fault(error: PoolFormatError) -> str:
    return "is missing" if ", is missing." in str(error) else "is damaged"


def _natural(name: str) -> list[Any]:
    """Return a key that sorts numbers in names by their values."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
