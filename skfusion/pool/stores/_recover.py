"""Read a pool back from its states alone, where its index was lost or damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from skfusion._caller import warn_caller
from skfusion.checkpoints.format import (
    DATA_FILE,
    PoolFormatError,
    check_entry,
    classes_from_json,
    read_array,
    read_known,
)
from skfusion.pool._member import Member
from skfusion.pool.stores._directory_store import PoolParts, read_file, read_member
from skfusion.state import State


def recovered(directory: Path) -> PoolParts:
    """Return all states in a directory as the parts of a pool; see :meth:`ModelPool.recover`."""
    if not directory.is_dir():
        raise FileNotFoundError(f"There is no directory {directory}. Give the one that holds the state files.")
    paths = [p for p in directory.iterdir() if DATA_FILE.fullmatch(p.name) and p.name.startswith("state-")]
    recovery = _Recovery(directory)
    for path in sorted(paths, key=lambda p: (-p.lstat().st_mtime_ns, p.name)):  # the latest first
        recovery.read(path)
    notes = recovery.notes
    if not recovery.members:
        why = f": {notes[0]}" if notes else "."
        raise PoolFormatError(f"{directory} holds no state file of a pool that can be read{why}")
    if notes:
        warn_caller(f"{directory} was not read back as a whole: {' '.join(notes)}")
    members = sorted(recovery.members.values(), key=lambda m: _natural(m.name))
    labels = [json.loads(text) for text in recovery.classes]
    return PoolParts(members, recovery.base, classes_from_json(labels[0]) if len(labels) == 1 else None)


class _Recovery:
    """What was read so far."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.members: dict[str, Member] = {}
        self.base: State | None = None
        self.classes: set[str] = set()
        self.notes: list[str] = []
        self.rows: dict[str, np.ndarray] = {}

    def read(self, path: Path) -> None:
        """Read a file of a state, and add it as a member or as the base."""
        try:
            state, known = read_file(read_known, path, "a state")
        except PoolFormatError as error:
            self.notes.append(f"{path.name} is left out, as it {_fault(error)}.")
            return
        if known.get("classes") is not None:
            self.classes.add(json.dumps(known["classes"], sort_keys=True))
        if known.get("base") is True and self.base is None:
            self.base = state
            return
        member = self._member(path, state, known.get("member"))
        if member.name in self.members:
            self.notes.append(f"A second state, an older one, has the name {member.name!r}: it has its file's, too.")
            member = member.replace(name=f"{member.name} ({path.stem[:14]})")
        self.members[member.name] = member

    def _member(self, path: Path, state: State, entry: Any) -> Member:
        try:
            entry = {**entry, "state": path.name}
            check_entry(entry)
        except (KeyError, TypeError, ValueError, OverflowError):  # of format 1, or crafted
            return Member(path.stem, state)
        for part in ("rows", "predictions"):
            try:
                if entry.get(part) is not None:
                    read_file(read_array, self.directory / entry[part], "an array")
            except PoolFormatError as error:
                self.notes.append(
                    f"The {part} of member {entry['name']!r} are left out, as {entry[part]} {_fault(error)}."
                )
                entry[part] = None
        return read_member(self.directory, entry, self.rows)


def _fault(error: PoolFormatError) -> str:
    return "is missing" if ", is missing." in str(error) else "is damaged"


def _natural(name: str) -> list[Any]:
    """Return a key that sorts numbers in names by their values."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
