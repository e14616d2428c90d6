"""Hash files and compare their check sums on other threads, while they are read for another purpose."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from pathlib import Path

from skfusion.checkpoints._archive import checked_blocks

_THREADS = 4


@contextmanager
def hashing(files: Sequence[Path]) -> Iterator[Callable[[Callable[[str, int, int], None]], dict[Path, str]]]:
    """Hash files in the background, and stop where the body raises an error.

    Yields ``wait(progress)``, which returns the SHA-256 of each file once all are known, or raises ``ValueError`` where
    a file was changed in the meantime, or the check sums of an archive are not those of its entries.
    """
    before, done, stop = {f: _mark(f) for f in files}, dict.fromkeys(files, 0), threading.Event()
    total = sum(mark[0] for mark in before.values())

    def digest(path: Path) -> str:
        sha256 = hashlib.sha256()
        for block in checked_blocks(path):
            if stop.is_set():
                return ""
            sha256.update(block)
            done[path] += len(block)
        return sha256.hexdigest()

    def wait(progress: Callable[[str, int, int], None]) -> dict[Path, str]:
        while wait_for(futures.values(), timeout=0.1).not_done:
            progress("Hashing the inputs", sum(done.values()), total)
        if changed := [path for path in files if _mark(path) != before[path]]:
            raise ValueError(f"{changed[0]} was changed while it was read, so the result is void. Merge again.")
        return {path: future.result() for path, future in futures.items()}

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        futures = {path: pool.submit(digest, path) for path in files}
        try:
            yield wait
        finally:
            stop.set()


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
