"""What a pool's directory holds, according to its index and the journal of later changes."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from skfusion.checkpoints.format._index_format import (
    CHECKED,
    DATA_FILE,
    INDEX,
    JOURNAL,
    PoolFormatError,
    damaged,
    event_from_line,
    files_of,
    index_from_bytes,
)

T = TypeVar("T")

LOCK = ".pool.lock"
PENDING = ".pool.pending"
"""Names of files that a writer adds or drops; there while it writes, and after a crash."""
RUNS = ".runs"
"""The folder of what else is known of the runs that members come from; it may be there before there is a member."""
TEMPORARY = re.compile(r"\.writing-[0-9a-f]{16}")
_OF_A_POOL = [DATA_FILE, JOURNAL, TEMPORARY, re.compile("|".join(map(re.escape, (LOCK, PENDING, RUNS))))]
_HEAD = len(b'{"check": "", ') + 64


class Index:
    """The members in a directory, which need not exist.

    What was read is kept: a ``refresh`` reads only what was added since. Readers take no lock, so the index and its
    journal may be replaced between two reads; then both are read again.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._forget()

    def _forget(self) -> None:
        self.members: dict[str, dict[str, Any]] = {}  # the entry of each by its name, in the order of the first puts
        self.classes: dict[str, Any] | None = None  # as JSON holds them
        self.base: str | None = None  # the name of its file, as that of the journal
        self.journal: str | None = None
        self.exists = False  # whether there is an index
        self.format = 0
        self.uses: Counter[str] = Counter()  # how often each file is referred to
        self.size = self.end = 0  # bytes of the index, and of the journal as far as it is read
        self.torn = False  # whether the journal ends in the middle of a line, as where a writer was stopped
        self._mark: tuple[bytes, int] | None = None
        self._last = b""  # line of the journal that was read

    @property
    def version(self) -> tuple[Any, ...]:
        """What is different if and only if the content is."""
        return self._mark, self.end, self._last

    def refresh(self) -> Index:
        """Read what has changed, or raise ``PoolFormatError``."""
        try:
            while True:
                self._read_index()
                try:
                    known = self._read_journal()
                except PoolFormatError:
                    if self._mark_of() == self._mark:
                        raise
                    continue
                if known and self._mark_of() == self._mark:
                    return self  # else a writer has replaced the index meanwhile, and dropped the journal
                if not known:
                    self._forget()
        except BaseException:
            self._forget()
            raise

    def _mark_of(self) -> tuple[bytes, int] | None:
        """Return what identifies an index: its check sum and size, or all of an older one."""
        return _read(self.directory / INDEX, _mark_in)

    def _read_index(self) -> None:
        if self._mark is not None and self._mark == self._mark_of():
            return
        self._forget()
        text = _read(self.directory / INDEX, lambda file: file.read())
        if text is None:
            self._check_foreign()
            return
        index = index_from_bytes(text, self.directory / INDEX)
        self.members = {entry["name"]: entry for entry in index["members"]}
        self.classes, self.base, self.journal = index["classes"], index["base"], index["journal"]
        self.uses.update(file for entry in index["members"] for file in files_of(entry))
        self.uses.update([self.base] if self.base else [])
        self.exists, self.size, self.format = True, len(text), index["format"]
        self._mark = (text[:_HEAD] if CHECKED.match(text) else text), len(text)

    def _read_journal(self) -> bool:
        """Read what was added to the journal; return False if it does not continue what was read before."""
        if self.journal is None:
            return True
        path, start = self.directory / self.journal, self.end - len(self._last)

        def rest(file: BinaryIO) -> bytes:
            file.seek(start)
            return file.read()

        text = _read(path, rest)
        if text is None:
            raise PoolFormatError(
                f"{path}, which holds the later members of the pool, is missing. Restore it from a backup, or read the "
                f"states beside it by ModelPool.recover({str(self.directory)!r}) and save them into another directory."
            )
        if not text.startswith(self._last):  # a writer has removed the last line after a failure
            return False
        *lines, unfinished = text[len(self._last) :].split(b"\n")
        for line in lines:
            self._apply(line + b"\n", path)
        self.torn = bool(unfinished)
        return True

    def _apply(self, line: bytes, path: Path) -> None:
        event, what = event_from_line(line, path)
        name = what["name"] if event == "put" else what
        self.uses.subtract(files_of(self.members.get(name, {})))
        if event == "put":
            self.members[name] = what
            self.uses.update(files_of(what))
        else:
            self.members.pop(name, None)
        self.end, self._last = self.end + len(line), line

    def _check_foreign(self) -> None:
        if self.directory.exists():
            check_foreign((path.name for path in self.directory.iterdir()), str(self.directory))


def check_foreign(names: Iterable[str], place: str) -> None:
    """Raise ``PoolFormatError`` where files in a folder without an index are not those of a pool."""
    if foreign := sorted(n for n in names if n != INDEX and not any(p.fullmatch(n) for p in _OF_A_POOL)):
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise PoolFormatError(
            f"{place} is not a pool: it has no {INDEX}, but other files ({shown}). Nothing was written. "
            "Give the path of a pool, or of a new or empty directory."
        )


def consistently(index: Index, read: Callable[[Index], T]) -> T:
    """Return ``read(index)``; read again if it fails because a writer has changed the directory meanwhile."""
    index.refresh()
    while True:
        version = index.version
        try:
            return read(index)
        except PoolFormatError:
            if index.refresh().version == version:
                raise


def _mark_in(file: BinaryIO) -> tuple[bytes, int]:
    head, size = file.read(_HEAD), os.fstat(file.fileno()).st_size
    return (head if CHECKED.match(head) else head + file.read()), size


def _read(path: Path, read: Callable[[BinaryIO], T]) -> T | None:
    """Return ``read(file)``, or None where there is none; raise ``PoolFormatError`` where it is something else."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for ever
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with path.open("rb") as file:
            return read(file)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise PoolFormatError(
            f"{path.parent} is a file; a pool is a directory. Give another path. Checkpoints are read by "
            "ModelPool.from_files."
        ) from error
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ELOOP):
            raise OSError(error.errno, f"{path} cannot be read: {error.strerror}") from error
        kind = "a loop of links" if error.errno == errno.ELOOP else "a folder, pipe or device"
        raise damaged(path, f"it is {kind} and no file") from error
