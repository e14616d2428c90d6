"""Read the files of a pool, each when what is in it is first asked for, and checked against its hash then."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from skfusion.checkpoints import UntrustedTypesError, read_estimator, read_known_estimator, with_known
from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import INDEX, Index, PoolFormatError
from skfusion.pool._member import Deferred, Member
from skfusion.pool.stores._remote import Remote

_OF_MEMBERS = {"rows": "the training rows of ", "predictions": "the predictions of "}
_TYPES_SHOWN = 12


class Reader:
    """Reads the files of a directory; ``trusted`` are types of estimators that may be built.

    A file is hashed when it is first read, and again where its size, time of change or inode is another one then.
    """

    def __init__(self, place: Path | Remote, trusted: Collection[Any] = ()) -> None:
        if isinstance(trusted, str | type):
            raise TypeError(f"trusted must be a list of types or of their names; got {trusted!r}.")
        self.remote = place if isinstance(place, Remote) else None
        self.directory = place.cache if isinstance(place, Remote) else place
        self.place = place.place if isinstance(place, Remote) else str(place)  # what messages call it
        self.trusted = tuple(trusted)
        self.own: set[str] = set()  # files of estimators that were made of objects of this process: their hash says so
        self._checked: dict[str, tuple[int, int, int]] = {}

    def member(self, entry: dict[str, Any], shared: dict[str, Shared]) -> Member:
        """Return the member of an entry, of which no file is read; arrays of rows in one file are one array.

        ``shared`` holds those of the members before, by their files.
        """
        parts = {}
        for file in self.files(entry):
            array = shared.setdefault(file.name, Shared()) if file.kind == "rows" else None
            parts[file.kind] = Deferred(replace(file, shared=array))
        try:
            score, meta = formats.score_from_json(entry["score"]), formats.meta_from_json(entry["meta"])
        except RecursionError as error:  # of metadata that was nested on purpose
            raise formats.damaged(self.directory / INDEX, error) from error
        return Member(entry["name"], score=score, meta=meta, **parts)

    def files(self, entry: dict[str, Any]) -> list[File]:
        """Return the files of a member."""
        owner = f"member {entry['name']!r}"
        files = (File(self, name, owner) for name in formats.files_of(entry))
        return [replace(file, owner=_OF_MEMBERS.get(file.kind, "") + owner) for file in files]

    def base(self, name: str | None) -> Deferred | None:
        """Return the common start of the members, which is not read yet."""
        return None if name is None else Deferred(File(self, name, "the base"))

    def read(self, name: str, owner: str, reader: Callable[[Path], Any]) -> Any:
        """Return ``reader(path)``, or raise an error that names the file, whose it is, and the remedy."""
        shown = f"{self.place}{os.sep if self.remote is None else '/'}{name}, which holds {owner},"
        try:
            if self.remote is None:
                self._check(self.directory / name)
            else:
                self.remote.fetch(name)
            return reader(self.directory / name)
        except FileNotFoundError as error:
            raise PoolFormatError(f"{shown} {self._why_missing(name)}") from error
        except UntrustedTypesError as error:
            raise PoolFormatError(f"{shown} {self._untrusted(error.names)}") from error
        except ImportError as error:
            raise ImportError(f"{shown} needs a library that cannot be imported: {error}") from error
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise OSError(error.errno, f"{shown} cannot be read: {error.strerror or error}") from error
            raise PoolFormatError(f"{shown} is damaged: it is a loop of links. {self._remedy()}") from error
        except MemoryError:
            raise
        except Exception as error:  # crafted files can raise any
            reason = " ".join(str(error)[:300].split())
            # Torch reports a file that a writer has removed after the first look as a RuntimeError.
            there = self.remote is not None or (self.directory / name).exists()
            fault = f"is damaged: {reason}. {self._remedy()}" if there else self._why_missing(name)
            raise PoolFormatError(f"{shown} {fault}") from error

    def _check(self, path: Path) -> None:
        """Raise ``ValueError`` where a file has another hash than its name says."""
        status = path.stat()
        mark = status.st_ino, status.st_mtime_ns, status.st_size
        if self._checked.get(path.name) != mark:
            formats.check_digest(path)
            self._checked[path.name] = mark

    def names(self) -> list[str]:
        """Return the names of the files that are there."""
        if self.remote is not None:
            return [*self.remote.sizes()]
        return [path.name for path in self.directory.iterdir()] if self.directory.is_dir() else []

    def _why_missing(self, name: str) -> str:
        if self.remote is None and not self.directory.is_dir():
            return (
                "is missing, as is the whole folder. A pool reads its members when they are first used: keep the "
                "folder until then, or read all of it at once by ModelPool.load(path, lazy=False)."
            )
        try:
            index = Index(self.directory).refresh() if self.remote is None else self.remote.index()
            listed = index.uses[name] > 0 or index.base == name
        except (PoolFormatError, OSError):
            listed = True
        if listed:
            return f"is missing. {self._remedy()}"
        return (
            "was removed after the pool was opened, as by another process that has deleted or replaced this member. "
            "Load the pool again."
        )

    def _remedy(self) -> str:
        if self.remote is not None:  # a file of the right size is not uploaded again
            return (
                "Restore it from a backup, or remove it and save the pool again; the other members can still be read."
            )
        return (
            "Restore the file from a backup, or save the pool again; the other members can still be read by "
            f"DirectoryStore({self.place!r}).get(name)."
        )

    def _untrusted(self, names: list[str]) -> str:
        more = ", ..." if len(self.trusted) + len(names) > _TYPES_SHOWN else ""
        given = [t for t in self.trusted if isinstance(t, str)]
        shown = ", ".join(f"{name!a:.100}" for name in [*given, *names][:_TYPES_SHOWN])
        return (
            f"has types that are not trusted ({len(names)}), and nothing was built of it. Where you know them, and "
            f"trust who wrote the file, name them: ModelPool.load({self.place!r}, trusted=[{shown}{more}]), or in the "
            "same way DirectoryStore(path, trusted=...)."
        )


class Shared:
    """An array in a file that several members have, so that it is read once."""

    def __init__(self) -> None:
        self.lock, self.value = threading.Lock(), None


@dataclass(frozen=True, slots=True)
class File:
    """A file of a pool that is read when it is called."""

    reader: Reader
    name: str
    owner: str
    shared: Shared | None = None

    def __call__(self) -> Any:
        if self.shared is None:
            return self._read()
        with self.shared.lock:
            if self.shared.value is None:
                self.shared.value = self._read()
            return self.shared.value

    @property
    def kind(self) -> str:
        """What it holds, a state, an estimator or an array of one of two kinds."""
        return self.name.partition("-")[0]

    def header(self, ties: bool = False) -> Mapping[str, formats.Described]:
        """Return what the tensors in it are, with ``ties`` by all names of each.

        Raises ``OSError`` where it is elsewhere and was not fetched yet.
        """
        return formats.described(self.reader.directory / self.name, ties)

    def _read(self) -> Any:
        trusted = None if self.name in self.reader.own else self.reader.trusted
        readers: dict[str, Callable[[Path], Any]] = {
            "state": formats.read_state,
            "estimator": partial(read_estimator, trusted=trusted, owner=self.owner),
        }
        read = readers.get(self.kind, formats.read_array)
        return self.reader.read(self.name, self.owner, read)

    def verify(self) -> None:
        """Raise ``PoolFormatError`` where the file is missing or damaged; nothing is built of it."""
        if self.kind == "estimator":
            self.reader.read(self.name, self.owner, read_known_estimator)
        else:
            self._read()

    def copied(self, known: dict[str, Any]) -> bytes:
        """Return the bytes of an estimator's file with something else known of it; nothing is built of them."""
        data: bytes = self.reader.read(self.name, self.owner, lambda path: with_known(path.read_bytes(), known))
        return data


def read_all(members: Iterable[Member]) -> None:
    """Read what members hold, rather than when it is first asked for."""
    for member in members:
        for part in ("state" if member.is_network else "estimator", "rows", "predictions"):
            getattr(member, part)
