"""Write a file so that it appears whole, in the place of what was there, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

WRITING = ".writing-"
"""The start of the names of temporary files in the directory of a pool."""


@contextmanager
def replacing(path: Path, temporary: str = WRITING, *, last: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside a path. It takes the place of the path at the end, or vanishes after an error.

    ``temporary`` is the start of its name, which a random number follows. It tells whose file is left by a crash: the
    next writer of a pool removes the files of crashed writers of that pool, and no others. Where the name shall not
    ``last`` yet, as that of one of many files, the directory is synced later by the caller.
    """
    part = path.parent / f"{temporary}{secrets.token_hex(8)}"
    try:
        with part.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # before the file is renamed, or a crash may leave the name with half the content
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "Nothing is left of it, and what was there is as before: make room, or give another place."
            raise OSError(error.errno, f"{error.strerror} to write {path}. {advice}") from error
        raise
    if last:
        sync_directory(path.parent)


_AT_ONCE = 2**23


def write_back(file: BinaryIO, since: int) -> int:
    """Let the system begin to write what a file holds from a position on, so that it need not wait for all at the end.

    Returns the position from which on it has not begun; some megabytes are handed over at once. On Linux, to say that
    bytes are not needed any more begins to write them.
    """
    end = file.tell()
    if end - since < _AT_ONCE or not hasattr(os, "posix_fadvise"):
        return since
    file.flush()
    os.posix_fadvise(file.fileno(), since, end - since, os.POSIX_FADV_DONTNEED)
    return end


def sync_directory(path: Path) -> None:
    """Make the names of files in a directory last, where the system can do that."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
