"""Read and write whole pools, as their parts, in a directory or at a URL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from skfusion._caller import warn_caller
from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import DATA_FILE, INDEX, Index, PoolFormatError, check_foreign
from skfusion.pool._member import Deferred, Member
from skfusion.pool.stores._entries import add_base, add_member
from skfusion.pool.stores._reader import Reader, Shared, read_all
from skfusion.pool.stores._remote import Remote, place_of
from skfusion.pool.stores._writer import writing
from skfusion.state import State

PoolParts = tuple[list[Member], State | Deferred | None, np.ndarray | None]
"""What a pool is made of: its members, base and classes."""


def write_pool(members: Iterable[Member], base: State | None, labels: np.ndarray | None, path: Any) -> None:
    """Write members without their nets into a directory or to a URL, in place of the pool that is there.

    Raises ``PoolFormatError`` if there is something else, or a pool of a newer format; nothing is touched then. Raises
    ``OSError`` if the disk is full or not writable; a pool that was there stays whole.
    """
    place = place_of(path)
    if isinstance(place, Remote):
        _upload_pool(place, members, base, labels)
        return
    classes = formats.classes_to_json(labels)
    with writing(Index(place)) as writer:
        entries = [add_member(member, classes, writer.add_file) for member in members]
        file = None if base is None else add_base(base, classes, writer.add_file)
        writer.replace(entries, classes, file)


def _upload_pool(remote: Remote, members: Iterable[Member], base: State | None, labels: np.ndarray | None) -> None:
    """Upload the data of a pool, then the index that refers to them; a failure leaves the pool that was there."""
    classes, before, old = formats.classes_to_json(labels), remote.sizes(), remote.index()
    if not old.exists:
        check_foreign(before, remote.place)
    added: set[str] = set()

    def add(kind: str, data: bytes) -> str:
        name = formats.file_name(kind, hashlib.sha256(data).hexdigest())
        if before.get(name) != len(data) and name not in added:
            added.add(name)
            remote.upload(name, data)
        return name

    try:
        remote.make()
        entries = [add_member(member, classes, add) for member in members]
        file = None if base is None else add_base(base, classes, add)
        texts = [formats.entry_to_text(entry) for entry in entries]
        remote.upload(INDEX, formats.index_to_bytes(texts, classes, file, None, formats.format_for(entries)))
    except BaseException:
        remote.remove(added - before.keys())
        raise
    kept = {file, *(name for entry in entries for name in formats.files_of(entry))}
    remote.remove(name for name in [*old.uses, old.journal] if name is not None and name not in kept)


def read_pool(path: Any, trusted: Collection[Any], lazy: bool) -> PoolParts:
    """Return what is in the directory of a pool or at a URL; where it is ``lazy``, states and arrays are not read yet.

    Raises ``FileNotFoundError`` if there is no pool, and ``PoolFormatError`` if its index is damaged or of a newer
    format; the same about other files when they are read.
    """
    place = place_of(path)
    reader = Reader(place, trusted)

    def read(index: Index) -> PoolParts:
        if not index.members:
            raise _no_pool(reader)
        shared: dict[str, Shared] = {}
        members = [reader.member(entry, shared) for entry in index.members.values()]
        base: State | Deferred | None = reader.base(index.base)
        if not lazy:
            read_all(members)
            base = base.read() if isinstance(base, Deferred) else None
        return members, base, formats.classes_from_json(index.classes)

    if isinstance(place, Remote):
        return _read_remote(place, read)
    index = Index(place)
    pool = formats.consistently(index, read)
    if index.torn and index.refresh().torn:  # and no other process is writing just now
        warn_caller(
            f"{place / str(index.journal)} ends in half a line: a writer was cut off there, and its member is not "
            f"in the pool. Its state, if that is whole, is among those of ModelPool.recover({str(place)!r})."
        )
    return pool


def _read_remote(remote: Remote, read: Callable[[Index], PoolParts]) -> PoolParts:
    """Return ``read(index)``; read again if it fails because the pool was replaced meanwhile."""
    index = remote.index()
    while True:
        try:
            return read(index)
        except PoolFormatError:
            version, index = index.version, remote.index()
            if index.version == version:
                raise


def _no_pool(reader: Reader) -> Exception:
    if n := sum(name.startswith("state-") and DATA_FILE.fullmatch(name) is not None for name in reader.names()):
        return PoolFormatError(
            f"{reader.place} has no members in its index, but {n} files of states: the index was lost, or a first save "
            f"was cut off. Read the states back by ModelPool.recover({reader.place!r}), and save them anew."
        )
    return FileNotFoundError(f"There is no pool in {reader.place}: save one there, or correct the path.")
