"""Change and read the directory of a pool, safe against crashes, full disks and other processes."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import filelock
import numpy as np
from safetensors import SafetensorError

from skfusion.pool import _format
from skfusion.pool._format import PoolFormatError
from skfusion.pool._member import Member
from skfusion.state import State

T = TypeVar("T")

INDEX = "pool.json"
LOCK = ".pool.lock"
_TEMPORARY = re.compile(r"\.writing-[0-9a-f]{16}")


class Writer:
    """Adds files beside a pool, which becomes the new pool by ``commit`` only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.index = read_index(directory)

    def add(self, member: Member) -> dict[str, Any]:
        """Write the files of a member and return its entry for the index."""
        if not isinstance(member.name, str):
            raise TypeError(f"The name of a member must be a string; got {member.name!r}.")
        entry = _format.member_to_json(member, "", None)  # before the large write, as it may refuse the meta
        for kind in ("rows", "predictions"):
            if (array := getattr(member, kind)) is not None:
                data = _format.array_to_bytes(array, f"The {kind} of member {member.name!r}")
                entry[kind] = self._add_file(kind, data)
        return {**entry, "state": self.add_state(member.state, f"member {member.name!r}")}

    def add_state(self, state: State, owner: str) -> str:
        """Write a state and return the name of its file."""
        return self._add_file("state", _format.state_to_bytes(state, owner))

    def _add_file(self, kind: str, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self.directory / f"{kind}-{digest}.safetensors"
        # A file that is there may have been damaged since: saving again mends it.
        if not (path.exists() and _format.digest_of(path) == digest):
            _replace(path, data)
        return path.name

    def commit(self, index: dict[str, Any]) -> None:
        """Make ``index`` the index of the pool, at once."""
        _replace(self.directory / INDEX, _format.index_to_bytes(index))


@contextmanager
def writing(directory: Path) -> Iterator[Writer]:
    """Lock a directory for a change; remove what the pool does not need afterwards, also after a failure."""
    read_index(directory)  # refuses what is not a pool before the first touch
    directory.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(directory / LOCK):
        writer = Writer(directory)
        try:
            yield writer
        finally:
            with suppress(OSError, PoolFormatError):
                _collect_garbage(directory)


def _collect_garbage(directory: Path) -> None:
    # The index on disk decides: the old one if the change failed at any point before its replacement, else the new one.
    needed = _format.files_of(read_index(directory))
    for path in directory.iterdir():
        mine = _format.DATA_FILE.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)
        if mine and path.name not in needed:
            with suppress(OSError):  # some systems do not remove a file that is mapped by a reader
                path.unlink()


def _replace(path: Path, data: bytes) -> None:
    temporary = path.parent / f".writing-{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # not every system can sync a directory
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_index(directory: Path) -> dict[str, Any]:
    """Return the index of a directory, an empty one where nothing is yet, or raise ``PoolFormatError``."""
    path = directory / INDEX
    try:
        return _format.index_from_bytes(path.read_bytes(), path)
    except FileNotFoundError:
        found = [p.name for p in directory.iterdir()] if directory.exists() else []
    except NotADirectoryError as error:
        raise PoolFormatError(f"{directory} is a file; a pool is a directory. Give another path.") from error
    if path.exists():  # written in the meantime
        return read_index(directory)
    patterns = (_format.DATA_FILE, _TEMPORARY, re.compile(re.escape(LOCK)))
    if foreign := sorted(name for name in found if not any(p.fullmatch(name) for p in patterns)):
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise PoolFormatError(
            f"{directory} is not a pool: it has no {INDEX}, but other files ({shown}). Nothing was written. "
            "Give the path of a pool, or of a new or empty directory."
        )
    return {"members": [], "classes": None, "base": None}


def consistently(directory: Path, read: Callable[[dict[str, Any]], T]) -> T:
    """Return ``read(index)``, again if a writer replaced the index and its files meanwhile."""
    index = read_index(directory)
    while True:
        try:
            return read(index)
        except PoolFormatError:
            newer = read_index(directory)
            if newer == index:
                raise
            index = newer


def read_member(directory: Path, entry: dict[str, Any], rows: dict[str, np.ndarray]) -> Member:
    """Return the member of an entry; arrays of training rows are looked up in ``rows``, and added there."""
    owner, file = f"member {entry['name']!r}", entry["rows"]
    if file is not None and file not in rows:
        rows[file] = read_file(_format.read_array, directory / file, f"the training rows of {owner}")
    state = read_file(_format.read_state, directory / entry["state"], owner)
    predictions = entry.get("predictions")
    if predictions is not None:
        predictions = read_file(_format.read_array, directory / predictions, f"the predictions of {owner}")
    return _format.member_from_json(entry, state, None if file is None else rows[file], predictions)


def read_file(reader: Callable[[Path], T], path: Path, owner: str) -> T:
    """Return ``reader(path)``, or raise ``PoolFormatError`` that names the file, whose it is, and the remedy."""
    try:
        return reader(path)
    except FileNotFoundError as error:
        fault, cause = "is missing", error
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        # Torch reports a file that a writer removed after the first look as a RuntimeError.
        fault, cause = (f"is damaged: {error}" if path.exists() else "is missing"), error
    raise PoolFormatError(
        f"{path}, which holds {owner}, {fault}. Restore the file from a backup, or save the pool again; the other "
        f"members can still be read by DirectoryStore({str(path.parent)!r}).get(name)."
    ) from cause
