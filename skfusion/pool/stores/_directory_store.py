"""Members in a directory that other processes and later sessions read."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from skfusion._caller import warn_caller
from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import DATA_FILE, INDEX, Index, PoolFormatError
from skfusion.pool._member import Member
from skfusion.pool.stores._store import check_known
from skfusion.pool.stores._writer import writing
from skfusion.state import State

T = TypeVar("T")

PoolParts = tuple[list[Member], State | None, np.ndarray | None]
"""What a pool is made of: its members, base and classes."""


class DirectoryStore:
    """A store in a directory: a safetensors file for each state, and an index ``pool.json``.

    Files of states are named after their content and never change; the index is replaced at once. Where it is large,
    changes are added to a journal beside it, so that a ``put`` costs the same however many came before. So a reader,
    which takes no lock, sees all of a change or nothing of it, a writer that fails or crashes leaves what was there,
    and several processes may write, one after another. Nothing is ever unpickled. All that is read is checked against
    its hash. Files that this index never listed are not removed; where it is lost,
    :meth:`ModelPool.recover <skfusion.pool.ModelPool.recover>` reads the states back.

    Parameters
    ----------
    path : path-like
        The directory. It is made by the first ``put``. One that holds other files, but no pool, is refused.

    Examples
    --------
    >>> import tempfile, torch
    >>> from skfusion.pool import DirectoryStore, Member
    >>> with tempfile.TemporaryDirectory() as path:
    ...     DirectoryStore(path).put(Member("a", {"w": torch.ones(2)}, score=0.5))
    ...     DirectoryStore(path).get("a").score
    0.5
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._index, self._lock = Index(self.path), threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def put(self, member: Member) -> None:
        """Write a member, without its net; see :meth:`Store.put`.

        Raises
        ------
        PoolFormatError
            If the directory is not a pool that can be written.
        OSError
            If the disk is full or not writable; the members that were there stay.
        """
        with writing(self._index, self._lock) as writer:
            writer.put(writer.add(member, self._index.classes))

    def get(self, name: str) -> Member:
        """Read the member of a name, its tensors mapped from the file; see :meth:`Store.get`.

        Raises
        ------
        KeyError
            If there is none of this name.
        PoolFormatError
            If its file is missing or damaged.
        """

        def read(index: Index) -> Member:
            check_known(name, index.members, self)
            return read_member(self.path, index.members[name], {})

        with self._lock:
            return formats.consistently(self._index, read)

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


def write_pool(
    members: Iterable[Member], base: State | None, labels: np.ndarray | None, path: str | os.PathLike[str]
) -> None:
    """Write members without their nets into a directory, in place of the pool that is there.

    Raises ``PoolFormatError`` if the directory holds something else, or a pool of a newer format; nothing is touched
    then. Raises ``OSError`` if the disk is full or not writable; a pool that was there stays whole.
    """
    classes = formats.classes_to_json(labels)
    with writing(Index(Path(path))) as writer:
        entries = [writer.add(m, classes) for m in members]
        file = None
        if base is not None:
            known = {"base": True, "classes": classes}
            file = writer.add_file("state", formats.state_to_bytes(base, "the base", known))
        writer.replace(entries, classes, file)


def read_pool(path: str | os.PathLike[str]) -> PoolParts:
    """Return what is in the directory of a pool, with tensors on the CPU that are mapped from the files.

    Raises ``FileNotFoundError`` if there is no pool, and ``PoolFormatError`` if a file is missing, damaged, or of a
    newer format.
    """
    directory = Path(path)

    def read(index: Index) -> PoolParts:
        if not index.members:
            raise _no_pool(directory)
        rows: dict[str, np.ndarray] = {}
        members = [read_member(directory, entry, rows) for entry in index.members.values()]
        base = None if index.base is None else read_file(formats.read_state, directory / index.base, "the base")
        return members, base, formats.classes_from_json(index.classes)

    index = Index(directory)
    pool = formats.consistently(index, read)
    if index.torn and index.refresh().torn:  # and no other process is writing just now
        warn_caller(
            f"{directory / str(index.journal)} ends in half a line: a writer was cut off there, and its member is not "
            f"in the pool. Its state, if that is whole, is among those of ModelPool.recover({str(directory)!r})."
        )
    return pool


def _no_pool(directory: Path) -> Exception:
    names = [p.name for p in directory.iterdir()] if directory.is_dir() else []
    if n := sum(name.startswith("state-") and DATA_FILE.fullmatch(name) is not None for name in names):
        return PoolFormatError(
            f"{directory} has no members in its index, but {n} files of states: the index was lost, or a first save "
            f"was cut off. Read the states back by ModelPool.recover({str(directory)!r}), and save them anew."
        )
    return FileNotFoundError(f"There is no pool in {directory}: save one there, or correct the path.")


def read_member(directory: Path, entry: dict[str, Any], rows: dict[str, np.ndarray]) -> Member:
    """Return the member of an entry; arrays of training rows are looked up in ``rows``, and added there."""
    owner, file = f"member {entry['name']!r}", entry["rows"]
    if file is not None and file not in rows:
        rows[file] = read_file(formats.read_array, directory / file, f"the training rows of {owner}")
    state = read_file(formats.read_state, directory / entry["state"], owner)
    predictions = entry.get("predictions")
    if predictions is not None:
        predictions = read_file(formats.read_array, directory / predictions, f"the predictions of {owner}")
    try:
        score, meta = formats.score_from_json(entry["score"]), formats.meta_from_json(entry["meta"])
    except RecursionError as error:  # of metadata that was nested on purpose
        raise formats.damaged(directory / INDEX, error) from error
    return Member(entry["name"], state, score, meta, None if file is None else rows[file], predictions=predictions)


def read_file(reader: Callable[[Path], T], path: Path, owner: str) -> T:
    """Return ``reader(path)``, or raise ``PoolFormatError`` that names the file, whose it is, and the remedy."""
    cause: Exception
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
        # Torch reports a file that a writer has removed after the first look as a RuntimeError.
        reason = " ".join(str(error)[:300].split())
        fault, cause = (f"is damaged: {reason}" if path.exists() else "is missing"), error
    raise PoolFormatError(
        f"{path}, which holds {owner}, {fault}. Restore the file from a backup, or save the pool again; the other "
        f"members can still be read by DirectoryStore({str(path.parent)!r}).get(name)."
    ) from cause
