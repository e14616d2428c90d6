"""Folders of pools that are elsewhere: in memory, in an object store, on a server, wherever fsspec reaches by a URL.

There are no locks. Data files are uploaded first and the index last, so that readers see the earlier pool or the new
one; of several writers at once the last one wins. Files are downloaded when they are first read, each into a temporary
folder that lasts as long as it is needed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import DATA_FILE, INDEX, JOURNAL, Index, PoolFormatError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:://|::)")


class Remote:
    """The folder of a pool at a URL."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem, self.root = filesystem, root.rstrip("/")
        self.place = str(filesystem.unstrip_protocol(self.root))
        self.cache = Path(tempfile.mkdtemp(prefix="skfusion-pool-"))
        # What is mapped from a file stays readable where the file is gone, except on Windows, which keeps it then.
        weakref.finalize(self, _remove_cache, self.cache, os.getpid())

    def index(self) -> Index:
        """Return what the index says now; it need not exist."""
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "pool"
            directory.mkdir()
            with self._reached(), suppress(FileNotFoundError):
                (directory / INDEX).write_bytes(self.filesystem.cat_file(f"{self.root}/{INDEX}"))
                # Ours has none, but it may be that of a directory which was copied there.
                if journal := JOURNAL.search((directory / INDEX).read_text("ascii", errors="replace")):
                    data = self.filesystem.cat_file(f"{self.root}/{journal[0]}")
                    (directory / journal[0]).write_bytes(data)
            try:
                return Index(directory).refresh()
            except PoolFormatError as error:
                raise PoolFormatError(str(error).replace(str(directory), self.place)) from error

    def sizes(self) -> dict[str, int]:
        """Return the sizes of the files in the folder by their names."""
        with self._reached():
            self.filesystem.invalidate_cache()
            try:
                listed = self.filesystem.ls(self.root, detail=True)
            except FileNotFoundError:
                return {}
        return {file["name"].rstrip("/").rpartition("/")[2]: file["size"] for file in listed}

    def fetch(self, name: str) -> None:
        """Download a file, if it has not been yet, or raise ``ValueError`` where its content is damaged."""
        if (self.cache / name).exists():
            return
        part = self.cache / secrets.token_hex(8)
        part.mkdir()
        try:
            with self._reached():
                self.filesystem.get_file(f"{self.root}/{name}", str(part / name))
            formats.check_digest(part / name)
            os.replace(part / name, self.cache / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def fetch_all(self) -> None:
        """Download all data files that can be read."""
        for name in self.sizes():
            if DATA_FILE.fullmatch(name):
                with suppress(ValueError):
                    self.fetch(name)

    def upload(self, name: str, data: bytes) -> None:
        """Write a file."""
        with self._reached():
            self.filesystem.pipe_file(f"{self.root}/{name}", data)

    def make(self) -> None:
        """Make the folder, where its place has such things."""
        with self._reached():
            self.filesystem.makedirs(self.root, exist_ok=True)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, as far as that can be done."""
        for name in names:
            with suppress(Exception):  # what is left costs room, and nothing else
                self.filesystem.rm_file(f"{self.root}/{name}")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn the errors of any service into one that names the place."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            number = getattr(error, "errno", None)
            reason = " ".join(str(error)[:300].split()) or type(error).__name__
            raise OSError(number, f"{self.place} cannot be read or written: {reason}") from error


def place_of(path: Any) -> Path | Remote:
    """Return the directory at a path or a URL ``file://``, or what is at another URL."""
    if not (isinstance(path, str) and _URL.match(path)):
        return Path(path)
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except ValueError as error:
        raise ValueError(f"{path!r} cannot be opened: {error}. Give a path, or a URL that fsspec knows.") from error
    return Path(root) if isinstance(filesystem, LocalFileSystem) else Remote(filesystem, root)


def directory_of(path: Any) -> Path:
    """Return the directory at a path or a URL ``file://``, or raise ``ValueError`` where there are no locks."""
    place = place_of(path)
    if isinstance(place, Remote):
        raise ValueError(
            f"A DirectoryStore needs a directory in which several processes can lock files; got {place.place!r}. Write "
            "members into a directory, and the pool to the URL by ModelPool.load(directory).save(url)."
        )
    return place


def _remove_cache(path: Path, process: int) -> None:
    if os.getpid() == process:  # and not a copy of the process, which ends earlier
        shutil.rmtree(path, ignore_errors=True)
