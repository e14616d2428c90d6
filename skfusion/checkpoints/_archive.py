"""Bytes of checkpoints: what the zip archives of ``torch.save`` hold, whether they are as written, and their hashes.

The entries of other archives, such as those of skops, are found and checked by the same functions.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

_LOCAL = struct.Struct("<4s22xHH")
"""Of the header before the data of an entry: its mark, and the lengths of the name and of the extra field after it."""
_ENCRYPTED = 1
_BLOCK = 2**18
_ADVICE = "Fetch or save it again."


class Part(NamedTuple):
    """Where the data of an entry lie in an archive."""

    name: str
    start: int
    size: int
    check_sum: int


def parts_of(path: Path) -> list[Part]:
    """Return the entries of an archive by their places, without reading their data; none overlaps another one.

    Raises ``ValueError`` if it is no archive, or one that ``torch.save`` does not write: its entries are stored as they
    are, so that tensors can be mapped, and what is compressed may be a thousand times as large.
    """
    try:
        with path.open("rb") as file:
            entries, parts = entries_in(file)
    except ValueError as error:
        raise ValueError(f"{path} is damaged, or no file of torch.save: {error}. {_ADVICE}") from error
    _check_kind(entries, path)
    try:
        check_places(parts, path.stat().st_size)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. {_ADVICE}") from error
    return parts


def entries_in(file: BinaryIO) -> tuple[list[zipfile.ZipInfo], list[Part]]:
    """Return the entries of an archive, and where their data begin, by their places; ``ValueError`` says why not."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
            return entries, [Part(e.filename, _start(file, e), e.file_size, e.CRC) for e in entries]
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError) as error:
        raise ValueError(str(error) or "an entry has no header") from error


def check_places(parts: Sequence[Part], size: int) -> None:
    """Raise ``ValueError`` where entries overlap, or one ends beyond the end of its archive."""
    end = 0
    for part in parts:
        if part.start < end:
            raise ValueError(f"its entry {part.name!r} overlaps another")
        end = part.start + part.size
    if end > size:
        raise ValueError(f"its entry {parts[-1].name!r} ends beyond it")


def check_stored(entries: Sequence[zipfile.ZipInfo], writer: str) -> None:
    """Raise ``ValueError`` where an entry is encrypted, or compressed: it may be a thousand times as large then."""
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(
                f"its entry {entry.filename!r} is compressed ({entry.compress_size} bytes for {entry.file_size}), and "
                f"{writer} compresses nothing"
            )
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"its entry {entry.filename!r} is encrypted")


def _check_kind(entries: list[zipfile.ZipInfo], path: Path) -> None:
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise ValueError(f"{path} is a program of TorchScript and not a state. Save torch.jit.load(...).state_dict().")
    try:
        check_stored(entries, "torch.save")
    except ValueError as error:
        raise ValueError(f"{path} is refused: {error}. Load it where it was made, and save it again.") from error


def _start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    file.seek(max(entry.header_offset, 0))
    mark, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    if mark != b"PK\3\4" or entry.header_offset < 0:
        raise zipfile.BadZipFile(f"its entry {entry.filename!r} is not where its table says")
    return int(entry.header_offset + _LOCAL.size + name + extra)


def check_sums(path: Path) -> None:
    """Raise ``ValueError`` where the bytes of an archive have changed; it is read whole, and no other file is read."""
    if _with_sums(path):
        for _ in checked_blocks(path):
            pass


def checked_blocks(path: Path) -> Iterator[memoryview]:
    """Yield the bytes of a file in blocks, each of which is overwritten by the next one.

    Raises ``ValueError`` after the first entry of an archive whose CRC-32 sum is not that of what was written.
    """
    block = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        for part in _with_sums(path):
            while n := file.readinto(block[: part.start - file.tell()]):
                yield block[:n]
            actual = 0
            while n := file.readinto(block[: part.start + part.size - file.tell()]):
                actual = zlib.crc32(block[:n], actual)
                yield block[:n]
            if actual != part.check_sum:
                raise ValueError(
                    f"{path} is damaged: the check sum of its entry {part.name!r} is not that of what was written. "
                    f"{_ADVICE}"
                )
        while n := file.readinto(block):
            yield block[:n]


def _with_sums(path: Path) -> list[Part]:
    """Return the entries that can be checked, none in a file that is no archive.

    A sum of zero is none: ``torch.serialization.set_crc32_options(False)`` leaves them out.
    """
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    return [part for part in parts_of(path) if part.check_sum] if is_archive else []


_THREADS = 8


@contextmanager
def hashing(
    files: Sequence[Path], hashes: bool = True
) -> Iterator[Callable[[Callable[[str, int, int], None]], dict[Path, str]]]:
    """Hash files in the background, and stop where the body raises an error.

    Yields ``wait(progress)``, which returns the SHA-256 of each file once all are known, or raises ``ValueError`` where
    a file was changed in the meantime, or the check sums of an archive are not those of its entries. Without ``hashes``
    it returns none, and of files without check sums nothing is read.
    """
    before, stop = {f: _mark(f) for f in files}, threading.Event()
    done = {path: 0 for path in files if hashes or _with_sums(path)}
    total = sum(before[path][0] for path in done)

    def digest(path: Path) -> str:
        sha256 = hashlib.sha256()
        for block in checked_blocks(path):
            if stop.is_set():
                return ""
            if hashes:
                sha256.update(block)
            done[path] += len(block)
        return sha256.hexdigest()

    def wait(progress: Callable[[str, int, int], None]) -> dict[Path, str]:
        while wait_for(futures.values(), timeout=0.1).not_done:
            progress("Hashing the inputs" if hashes else "Checking the inputs", sum(done.values()), total)
        if changed := [path for path in files if _mark(path) != before[path]]:
            raise ValueError(f"{changed[0]} was changed while it was read, so the result is void. Merge again.")
        found = {path: future.result() for path, future in futures.items()}
        return found if hashes else {}

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        futures = {path: pool.submit(digest, path) for path in done}
        try:
            yield wait
        finally:
            stop.set()


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
