"""Members in a directory that other processes and later sessions read."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

from skfusion.checkpoints.format import Index
from skfusion.pool._member import Member
from skfusion.pool.stores._reader import Reader
from skfusion.pool.stores._remote import directory_of
from skfusion.pool.stores._staged import staged
from skfusion.pool.stores._store import check_known
from skfusion.pool.stores._writer import writing


class DirectoryStore:
    """A store in a directory: a safetensors file for each state, a skops file for each estimator, and ``pool.json``.

    Files are named after their content and never change; the index is replaced at once. Where it is large, changes are
    added to a journal beside it, so that a ``put`` costs the same however many came before. So a reader, which takes no
    lock, sees all of a change or nothing of it, a writer that fails or crashes leaves what was there, and several
    processes may write, one after another; data are written before the directory is locked, so that nobody waits for
    them. Nothing is ever unpickled. What a member holds is read when it is first used, and checked against its hash
    then. Files that this index never listed are not removed; where it is lost,
    :meth:`ModelPool.recover <skfusion.pool.ModelPool.recover>` reads the states back.

    Parameters
    ----------
    path : path-like
        The directory. It is made by the first ``put``. One that holds other files, but no pool, is refused.
    trusted : iterable of str or type, default=()
        Types of estimators, beside those that skops trusts, that may be built of a file. Name only types whose code you
        know, and read only files from people whom you trust. What this object has put itself needs no trust.

    Examples
    --------
    >>> import tempfile, torch
    >>> from skfusion.pool import DirectoryStore, Member
    >>> with tempfile.TemporaryDirectory() as path:
    ...     DirectoryStore(path).put(Member("a", {"w": torch.ones(2)}, score=0.5))
    ...     DirectoryStore(path).get("a").score
    0.5
    """

    def __init__(self, path: str | os.PathLike[str], trusted: Collection[Any] = ()) -> None:
        self.path = directory_of(path)
        self._index, self._lock = Index(self.path), threading.RLock()
        self._reader = Reader(self.path, trusted)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.path, self._reader.trusted)

    def put(self, member: Member) -> None:
        """Write a member, without its net; see :meth:`Store.put`.

        Raises
        ------
        PoolFormatError
            If the directory is not a pool that can be written.
        ValueError
            If the member holds what cannot be stored.
        OSError
            If the disk is full or not writable; the members that were there stay.
        """
        copied = member.deferred("estimator") is not None
        with staged(member, self._index, self._lock) as add, writing(self._index, self._lock) as writer:
            entry = add(writer)
            writer.put(entry)
            if not copied and "estimator" in entry:
                self._reader.own.add(entry["estimator"])

    def get(self, name: str) -> Member:
        """Return the member of a name, whose files are read when they are first used; see :meth:`Store.get`.

        Tensors are mapped from their file, so that only those that are used take memory.

        Raises
        ------
        KeyError
            If there is none of this name.
        PoolFormatError
            If the index is damaged, and, when it is first used, where a file is missing or damaged, or holds types of
            estimators that are not trusted.
        """
        with self._lock:
            members = self._index.refresh().members
            check_known(name, members, self)
            return self._reader.member(members[name], {})

    def verify(self, name: str) -> None:
        """Read the files of a member and check them against their hashes; nothing is built of them.

        Parameters
        ----------
        name : str
            One of ``names()``.

        Raises
        ------
        KeyError
            If there is none of this name.
        PoolFormatError
            If a file is missing or damaged. Types of estimators need not be trusted.
        """
        with self._lock:
            members = self._index.refresh().members
            check_known(name, members, self)
            files = Reader(self.path).files(members[name])
        for file in files:
            file.verify()

    def names(self) -> list[str]:
        """Return the names, none where the directory does not exist yet; see :meth:`Store.names`."""
        with self._lock:
            return [*self._index.refresh().members]

    def delete(self, name: str) -> None:
        """Remove a member and the files that no other member needs; see :meth:`Store.delete`."""
        check_known(name, self.names(), self)  # before the directory is locked, which would make it
        with writing(self._index, self._lock) as writer:
            check_known(name, self._index.members, self)
            writer.delete(name)

    def __repr__(self) -> str:
        return f"DirectoryStore({str(self.path)!r})"


def _unpickled(cls: type[DirectoryStore], path: Path, trusted: Collection[Any]) -> DirectoryStore:
    """Return a store that has come from another process, as with each task of a worker.

    Those of one directory share what this process knows of its index. So a worker reads each line of it once, where
    reading all members again in each of K tasks would take a time that grows as K squared.
    """
    store = cls(path, trusted)
    store._index, store._lock = _known_index(path, os.path.abspath(path))
    return store


@lru_cache(maxsize=2)
def _known_index(directory: Path, place: str) -> tuple[Index, threading.RLock]:
    """Return the index of a directory at an absolute path, as a relative one may come to mean another, and its lock."""
    return Index(directory), threading.RLock()


if hasattr(os, "register_at_fork"):  # a lock that another thread holds at that time would never be free in the copy
    os.register_at_fork(after_in_child=_known_index.cache_clear)
