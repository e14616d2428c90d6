"""Change and read the directory of a pool, safe against crashes, full disks and other processes."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import filelock
import numpy as np

from skfusion.pool import _format
from skfusion.pool._format import DATA_FILE, PoolFormatError
from skfusion.pool._index import LOCK, PENDING, TEMPORARY, Index
from skfusion.pool._index_format import INDEX, JOURNAL, entry_to_text, files_of, index_to_bytes, line_of, refuse
from skfusion.pool._member import Member
from skfusion.state import State

__all__ = ["INDEX", "Writer", "read_file", "read_index", "read_member", "writing"]

T = TypeVar("T")

SMALL = 2**16
"""Bytes up to which an index is written anew at each change; later changes of a larger one stand in a journal."""


class Writer:
    """Adds files beside a pool, which become part of it by ``put`` or ``replace`` only."""

    def __init__(self, directory: Path, index: Index) -> None:
        self.directory, self.index = directory, index
        self.pending: set[str] = set()

    def add(self, member: Member, classes: dict[str, Any] | None) -> dict[str, Any]:
        """Write the files of a member and return its entry for the index."""
        if not isinstance(member.name, str):
            raise TypeError(f"The name of a member must be a string; got {member.name!r}.")
        entry = _format.member_to_json(member, "", None)  # before the large write, as it may refuse the meta
        for kind in ("rows", "predictions"):
            if (array := getattr(member, kind)) is not None:
                data = _format.array_to_bytes(array, f"The {kind} of member {member.name!r}")
                entry[kind] = self._add_file(kind, data)
        known = {"member": {**entry, "state": None}, "classes": classes}
        return {**entry, "state": self.add_state(member.state, f"member {member.name!r}", known)}

    def add_state(self, state: State, owner: str, known: dict[str, Any]) -> str:
        """Write a state and return the name of its file."""
        return self._add_file("state", _format.state_to_bytes(state, owner, known))

    def _add_file(self, kind: str, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self.directory / f"{kind}-{digest}.safetensors"
        with suppress(OSError, ValueError):  # there is none, or something else in its place
            # A file that is there may have been damaged since: saving again repairs it.
            if _format.digest_of(path) == digest:
                return path.name
        if not path.exists():
            self.announce([path.name])
        _replace(path, data)
        return path.name

    def announce(self, names: Iterable[str]) -> None:
        """Tell the next writer, should this one crash, which files to remove where the index does not list them."""
        self.pending.update(names := [*names])
        with (self.directory / PENDING).open("a", encoding="ascii") as file:
            file.writelines(f"{name}\n" for name in names)

    def put(self, entry: dict[str, Any]) -> None:
        """Add a member, or replace the one of its name, at once."""
        self.announce(files_of(self.index.members.get(entry["name"], {})))
        self._change("put", entry, entry["name"])

    def delete(self, name: str) -> None:
        """Remove a member, at once."""
        self.announce(files_of(self.index.members[name]))
        self._change("delete", name, name)

    def _change(self, event: str, what: Any, name: str) -> None:
        line = line_of(event, what)
        # A journal as long as the index is merged into it, so that a change costs the same however many came before.
        if self.index.journal is not None and self.index.end + len(line) <= self.index.size:
            _append(self.directory / self.index.journal, line, self.index.end)
            return
        members = {**self.index.members, name: what}
        if event == "delete":
            del members[name]
        self._write(members.values(), self.index.classes, self.index.base)

    def replace(self, entries: list[dict[str, Any]], classes: dict[str, Any] | None, base: str | None) -> None:
        """Make other members the pool, at once."""
        self.announce(self.index.uses)
        self._write(entries, classes, base)

    def _write(self, entries: Iterable[dict[str, Any]], classes: dict[str, Any] | None, base: str | None) -> None:
        if self.index.journal is not None:
            self.announce([self.index.journal])
        texts = [entry_to_text(entry) for entry in entries]
        journal = None
        if sum(map(len, texts)) > SMALL:
            journal = f"journal-{secrets.token_hex(8)}.jsonl"
            self.announce([journal])
            _replace(self.directory / journal, b"")
        _replace(self.directory / INDEX, index_to_bytes(texts, classes, base, journal))


@contextmanager
def writing(index: Index, lock: Any = None) -> Iterator[Writer]:
    """Lock the directory of an index for a change; remove what the change has left over, also after a failure."""
    directory, lock = index.directory, lock or nullcontext()
    with lock:
        index.refresh()  # refuses what is not a pool before the first touch
    directory.mkdir(parents=True, exist_ok=True)
    _check_plain(directory / LOCK)
    _check_plain(directory / PENDING)
    with filelock.FileLock(directory / LOCK), lock:
        writer = Writer(directory, index.refresh())
        if not index.exists:
            # Nobody knows whether states that are there are a lost pool's, so none is removed; only halves of files.
            (directory / PENDING).unlink(missing_ok=True)
            _remove(directory, _temporaries(directory))
        elif (directory / PENDING).exists():  # a writer has crashed
            names = (directory / PENDING).read_text("ascii", errors="replace").split("\n")
            writer.pending.update(name for name in names if DATA_FILE.fullmatch(name) or JOURNAL.fullmatch(name))
            writer.pending.update(_temporaries(directory))
        writer.announce([])
        try:
            yield writer
        finally:
            with suppress(OSError, PoolFormatError):
                index.refresh()  # the old one if the change failed before its end, else the new one
                needed = {index.journal, index.base}
                left = [n for n in writer.pending if n not in needed and index.uses[n] <= 0]
                if _remove(directory, left):
                    (directory / PENDING).unlink()


def _check_plain(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise PoolFormatError(f"{path} is no plain file, and writers of the pool need one there. Move it away.")


def _temporaries(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if TEMPORARY.fullmatch(path.name)]


def _remove(directory: Path, names: Iterable[str]) -> bool:
    """Remove files; return whether all are gone, as some systems do not remove what a reader has mapped."""
    gone = True
    for name in names:
        try:
            (directory / name).unlink(missing_ok=True)
        except OSError:
            gone = False
    return gone


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


def _append(path: Path, line: bytes, end: int) -> None:
    """Write a line at a place, over half a line that a stopped writer has left there; nothing is left of a failure."""
    with path.open("r+b", buffering=0) as file:
        file.truncate(end)
        file.seek(end)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(end)
            raise


def read_index(directory: Path) -> dict[str, Any]:
    """Return members, classes and base of a directory, none where nothing is yet, or raise ``PoolFormatError``."""
    index = Index(directory).refresh()
    return {"members": [*index.members.values()], "classes": index.classes, "base": index.base}


def read_member(directory: Path, entry: dict[str, Any], rows: dict[str, np.ndarray]) -> Member:
    """Return the member of an entry; arrays of training rows are looked up in ``rows``, and added there."""
    owner, file = f"member {entry['name']!r}", entry["rows"]
    if file is not None and file not in rows:
        rows[file] = read_file(_format.read_array, directory / file, f"the training rows of {owner}")
    state = read_file(_format.read_state, directory / entry["state"], owner)
    predictions = entry.get("predictions")
    if predictions is not None:
        predictions = read_file(_format.read_array, directory / predictions, f"the predictions of {owner}")
    try:
        return _format.member_from_json(entry, state, None if file is None else rows[file], predictions)
    except RecursionError as error:
        refuse(directory / INDEX, error)


def read_file(reader: Callable[[Path], T], path: Path, owner: str) -> T:
    """Return ``reader(path)``, or raise ``PoolFormatError`` that names the file, whose it is, and the remedy."""
    try:
        return reader(path)
    except FileNotFoundError as error:
        fault, cause = "is missing", error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        fault, cause = "is damaged: it is a loop of links", error
    except MemoryError:
        raise
    except Exception as error:  # crafted files can raise any
        # Torch reports a file that a writer removed after the first look as a RuntimeError.
        told = " ".join(str(error)[:300].split())
        fault, cause = (f"is damaged: {told}" if path.exists() else "is missing"), error
    raise PoolFormatError(
        f"{path}, which holds {owner}, {fault}. Restore the file from a backup, or save the pool again; the other "
        f"members can still be read by DirectoryStore({str(path.parent)!r}).get(name)."
    ) from cause
