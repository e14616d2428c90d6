"""Members in a directory that other processes and later sessions read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from skfusion.pool import _format
from skfusion.pool._directory import consistently, read_file, read_index, read_member, writing
from skfusion.pool._member import Member
from skfusion.pool._pool import ModelPool
from skfusion.pool._protocol import check_known


class DirectoryStore:
    """A store in a directory: a safetensors file for each state, and an index ``pool.json``.

    Files of states are named after their content and never change; the index is replaced at once. So a reader, which
    takes no lock, sees all of a change or nothing of it, a writer that fails or crashes leaves what was there, and
    several processes may write, one after another. Nothing is ever unpickled. A member is checked against its hash
    when it is read.

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

    def put(self, member: Member) -> None:
        """Write a member; one of the same name is replaced in its place.

        Parameters
        ----------
        member : Member
            The member; its ``net`` is not written.

        Raises
        ------
        PoolFormatError
            If the directory is not a pool that can be written.
        OSError
            If the disk is full or not writable; the members that were there stay.
        """
        with writing(self.path) as writer:
            entry = writer.add(member)
            members = writer.index["members"]
            at = next((i for i, m in enumerate(members) if m["name"] == member.name), len(members))
            writer.commit({**writer.index, "members": [*members[:at], entry, *members[at + 1 :]]})

    def get(self, name: str) -> Member:
        """Read the member of a name.

        Parameters
        ----------
        name : str
            One of ``names()``.

        Returns
        -------
        Member
            The member, with tensors on the CPU that are mapped from the file.

        Raises
        ------
        KeyError
            If there is none of this name.
        PoolFormatError
            If its file is missing or damaged.
        """

        def read(index: dict[str, Any]) -> Member:
            entries = {m["name"]: m for m in index["members"]}
            check_known(name, [*entries], self)
            return read_member(self.path, entries[name], {})

        return consistently(self.path, read)

    def names(self) -> list[str]:
        """Return the names in the order in which they were first put.

        Returns
        -------
        list of str
            The names; none where the directory does not exist yet.
        """
        return [m["name"] for m in read_index(self.path)["members"]]

    def delete(self, name: str) -> None:
        """Remove a member and the files that no other member needs.

        Parameters
        ----------
        name : str
            One of ``names()``.

        Raises
        ------
        KeyError
            If there is none of this name.
        """
        check_known(name, self.names(), self)
        with writing(self.path) as writer:
            members = writer.index["members"]
            check_known(name, [m["name"] for m in members], self)
            writer.commit({**writer.index, "members": [m for m in members if m["name"] != name]})

    def __repr__(self) -> str:
        return f"DirectoryStore({str(self.path)!r})"


def save_pool(pool: ModelPool, path: str | os.PathLike[str]) -> None:
    """Write a pool into a directory, in place of the pool that is there.

    Parameters
    ----------
    pool : ModelPool
        The pool; nets of members are not written.
    path : path-like
        The directory; it is made when missing.

    Raises
    ------
    PoolFormatError
        If the directory holds something else, or a pool of a newer format. Nothing is touched then.
    OSError
        If the disk is full or not writable. A pool that was there stays whole.
    """
    classes = _format.classes_to_json(pool.classes)
    with writing(Path(path)) as writer:
        members = [writer.add(m) for m in pool]
        base = None if pool.base is None else writer.add_state(pool.base, "the base")
        writer.commit({"members": members, "classes": classes, "base": base})


def load_pool(path: str | os.PathLike[str]) -> ModelPool:
    """Read a pool from a directory.

    Parameters
    ----------
    path : path-like
        A directory written by :func:`save_pool` or :class:`DirectoryStore`.

    Returns
    -------
    ModelPool
        The pool, with tensors on the CPU that are mapped from the files.

    Raises
    ------
    FileNotFoundError
        If there is no pool.
    PoolFormatError
        If a file is missing, damaged, or of a newer format.
    """
    directory = Path(path)

    def read(index: dict[str, Any]) -> ModelPool:
        if not index["members"]:
            raise FileNotFoundError(f"There is no pool in {directory}: save one there, or correct the path.")
        rows: dict[str, np.ndarray] = {}
        members = [read_member(directory, entry, rows) for entry in index["members"]]
        base = index["base"] and read_file(_format.read_state, directory / index["base"], "the base")
        return ModelPool(members, base, _format.classes_from_json(index["classes"]))

    return consistently(directory, read)
