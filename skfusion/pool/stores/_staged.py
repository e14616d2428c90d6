"""Write the data of a member before the directory of its pool is locked, so that other writers need not wait for it.

Files are written and synced under temporary names, and get theirs while the directory is locked. One that has vanished
by then, be it whole or half written, is written again: a writer that cleans up after a crash removes all temporary
files.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import Index
from skfusion.pool._member import Member
from skfusion.pool.stores._entries import add_member
from skfusion.pool.stores._writer import Writer, explained

AddMember = Callable[[Writer], dict[str, Any]]
"""Adds the files of a member to a pool that is locked, and returns its entry for the index."""


@contextmanager
def staged(member: Member, index: Index, lock: Any) -> Iterator[AddMember]:
    """Write the files of a member beside a pool, and yield what adds them to it; what is left of them is removed.

    Where there is no pool yet, they are written while its directory is locked, which is made then.
    """
    with lock:
        exists, classes = index.refresh().exists, index.classes  # of what is no pool nothing is written
    data: dict[str, bytes] = {}
    parts: dict[str, Path] = {}

    def write(kind: str, content: bytes) -> str:
        name = formats.file_name(kind, hashlib.sha256(content).hexdigest())
        if name not in data and not (index.directory / name).exists():
            parts[name] = index.directory / f"{formats.WRITING}{secrets.token_hex(8)}"
            with suppress(FileNotFoundError), formats.replacing(parts[name], last=False) as file:
                file.write(content)
        data[name] = content
        return name

    def add(writer: Writer) -> dict[str, Any]:
        if entry is None or writer.index.classes != classes:  # which the files hold, too
            return add_member(member, writer.index.classes, writer.add_file)
        for name, content in data.items():
            writer.place(name, content, parts.get(name))
        return entry

    try:
        with explained(index.directory):
            entry = add_member(member, classes, write) if exists else None
        yield add
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)
