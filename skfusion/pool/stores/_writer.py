"""Change the directory of a pool, safe against crashes, full disks and other processes.

Data files are named after their content and are never changed. They become part of the pool only when the index, which
is replaced at once, or a line that is appended to its journal refers to them. So a crash at any moment leaves the old
pool or the new one. The names of files that may be left over are written to a list of pending files beforehand; the
next writer removes those that the index does not refer to. Files of a ``put`` are written before the directory is
locked, under temporary names that no list has (see `_staged`): those that a crash has left are removed when the index
is written anew, once they are old.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import filelock

from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import DATA_FILE, INDEX, JOURNAL, LOCK, PENDING, TEMPORARY, Index, PoolFormatError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENOLCK}
"""What a disk answers that is full, read-only or gone."""
SMALL = 2**16
"""Bytes up to which an index is written anew at each change; later changes of a larger one stand in a journal."""


OLD = 3600.0
"""Seconds after which a temporary file is taken for one of a writer that was stopped before it had the lock."""


class Writer:
    """Adds files beside a pool, which become part of it by ``put`` or ``replace`` only."""

    def __init__(self, directory: Path, index: Index) -> None:
        self.directory, self.index = directory, index
        self.pending: set[str] = set()
        self._added = False

    def add_file(self, kind: str, data: bytes) -> str:
        """Write a file of some kind, where there is none yet, and return its name."""
        name = formats.file_name(kind, hashlib.sha256(data).hexdigest())
        self.place(name, data)
        return name

    def place(self, name: str, data: bytes, part: Path | None = None) -> None:
        """Make some data a file of a name that says their hash, where there is none yet.

        They are written, unless they stand in the directory by the temporary name of a ``part`` already.
        """
        self._added, path = True, self.directory / name
        with suppress(OSError, ValueError):  # there is none, or something else in its place
            # A file that is there may have been damaged since: saving again repairs it.
            if formats.digest_of(path) in name:
                return
        if not path.exists():
            self.announce([name])
        if part is not None:
            with suppress(FileNotFoundError):  # another writer has taken it for what a crash had left
                os.replace(part, path)
                return
        with formats.replacing(path, last=False) as file:
            file.write(data)

    def _sync(self) -> None:
        """Make the names of the files that were added last, before anything refers to them."""
        if self._added:
            formats.sync_directory(self.directory)
        self._added = False

    def announce(self, names: Iterable[str]) -> None:
        """List files that the next writer, should this one crash, removes where the index does not refer to them."""
        self.pending.update(names := [*names])
        with (self.directory / PENDING).open("a", encoding="ascii") as file:
            file.writelines(f"{name}\n" for name in names)

    def put(self, entry: dict[str, Any]) -> None:
        """Add a member, or replace the one of its name, at once."""
        self._sync()
        self.announce(formats.files_of(self.index.members.get(entry["name"], {})))
        self._change("put", entry, entry["name"])

    def delete(self, name: str) -> None:
        """Remove a member, at once."""
        self.announce(formats.files_of(self.index.members[name]))
        self._change("delete", name, name)

    def _change(self, event: str, what: Any, name: str) -> None:
        line = formats.line_of(event, what)
        # A journal as long as the index is merged into it, so that a change costs the same however many came before.
        # A line of a newer format than the index says would be damage to the versions that read the older one.
        fits = event == "delete" or formats.format_for([what]) <= self.index.format
        if fits and self.index.journal is not None and self.index.end + len(line) <= self.index.size:
            _append(self.directory / self.index.journal, line, self.index.end)
            return
        members = {**self.index.members, name: what}
        if event == "delete":
            del members[name]
        self._write(members.values(), self.index.classes, self.index.base)

    def replace(self, entries: list[dict[str, Any]], classes: dict[str, Any] | None, base: str | None) -> None:
        """Make other members the pool, at once."""
        self._sync()
        self.announce(self.index.uses)
        self._write(entries, classes, base)

    def _write(self, entries: Iterable[dict[str, Any]], classes: dict[str, Any] | None, base: str | None) -> None:
        if self.index.journal is not None:
            self.announce([self.index.journal])
        entries = [*entries]
        texts = [formats.entry_to_text(entry) for entry in entries]
        journal = None
        if sum(map(len, texts)) > SMALL:
            journal = f"journal-{secrets.token_hex(8)}.jsonl"
            self.announce([journal])
            _replace(self.directory / journal, b"")  # before the index that refers to it
        # Here, and not at every change, as it takes a look at all files: the index is written anew ever more rarely.
        self.pending.update(_abandoned(self.directory))
        number = formats.format_for(entries)
        _replace(self.directory / INDEX, formats.index_to_bytes(texts, classes, base, journal, number))


@contextmanager
def writing(index: Index, lock: Any = None) -> Iterator[Writer]:
    """Lock the directory of an index for a change; remove what the change has left over, also after a failure."""
    directory, lock = index.directory, lock or nullcontext()
    with lock:
        index.refresh()  # refuses what is not a pool before anything is written
    with explained(directory), _locked(directory), lock:
        writer = Writer(directory, index.refresh())
        if not index.exists:
            # States that are there may be those of a pool whose index was lost, so only halves of files are removed.
            (directory / PENDING).unlink(missing_ok=True)
            _remove(directory, _temporaries(directory))
        elif (directory / PENDING).exists():  # a writer has crashed
            names = (directory / PENDING).read_text("ascii", errors="replace").split("\n")
            # The list may have been cut off or edited: nothing but names of our files is ever removed.
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


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Make a directory, and wait until no other writer is at work in it."""
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for path in new:
        formats.sync_directory(path.parent)
    _check_plain(directory / LOCK)
    _check_plain(directory / PENDING)
    lock = filelock.FileLock(directory / LOCK)
    try:
        lock.acquire(poll_interval=0.01)
    except NotImplementedError as error:
        raise OSError(
            errno.ENOTSUP, f"{directory} lies on a disk whose files cannot be locked: save the pool elsewhere."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Name the directory in errors of the system that do not, and say what is left."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            unclear = error.errno in _DISK and str(directory) not in str(error)
        else:
            path = Path(os.fsdecode(error.filename))
            unclear = path.parent == directory or path in (directory, *directory.parents)
        if not unclear:
            raise
        raise OSError(
            error.errno,
            f"The pool in {directory} cannot be written: {error.strerror}. What was there is as before. Make room, or "
            "save it where you may write.",
        ) from error


def _check_plain(path: Path) -> None:
    # Through a link, a crafted directory would have files elsewhere written or emptied.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise PoolFormatError(f"{path} is no plain file, and writers of the pool need one there. Move it away.")


def _temporaries(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if TEMPORARY.fullmatch(path.name)]


def _abandoned(directory: Path) -> list[str]:
    """Return temporary files of writers that must have been stopped, and not those of writers that are at work."""
    found = []
    for name in _temporaries(directory):
        with suppress(OSError):
            if time.time() - (directory / name).stat().st_mtime > OLD:
                found.append(name)
    return found


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
    with formats.replacing(path) as file:
        file.write(data)


def _append(path: Path, line: bytes, end: int) -> None:
    """Write a line at a place, over half a line that a stopped writer has left; a failure leaves nothing of it."""
    _check_plain(path)
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
