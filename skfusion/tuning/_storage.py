"""Open the storages of studies, and say which file is damaged and what to do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna

_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")
_REMEDY = "restore it from a backup, or give another storage"


@contextmanager
def opening(storage: Any) -> Iterator[None]:
    """Turn what a database, a driver or a parser raises into one line that names the storage."""
    file = _journal_of(storage)
    if file is not None and _is_cut(file):
        raise ValueError(
            f"The journal {file} is damaged: its last line is cut off, and what follows would be lost. Remove that "
            f"line, {_REMEDY}."
        )
    try:
        yield
    except Exception as error:  # each database has its own errors
        if storage is None:
            raise
        if file is not None and (line := _broken_line(file)):
            raise ValueError(
                f"The journal {file} is damaged: its line {line} is no JSON. Remove that line, {_REMEDY}."
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0].removesuffix(".")
        raise ValueError(
            f"The storage {_name_of(storage)} cannot be opened: {reason}. If it is damaged, or no storage of Optuna, "
            f"{_REMEDY}, such as sqlite:///study.db."
        ) from error


def reached(storage: Any) -> Any:
    """Return a storage, given by its address too; while another process makes the tables of a database, wait for it."""
    if isinstance(storage, str):
        for pause in (0.1, 0.3, 1.0):
            with suppress(Exception):  # one that lasts is raised below
                return optuna.storages.get_storage(storage)
            time.sleep(pause)
    return optuna.storages.get_storage(storage)


def _name_of(storage: Any) -> str:
    address = storage if isinstance(storage, str) else getattr(storage, "url", None)
    return _PASSWORD.sub(r"\1***@", address) if isinstance(address, str) else type(storage).__name__


def _journal_of(storage: Any) -> Path | None:
    """Return the file of a journal, of which Optuna has no public name."""
    path = getattr(getattr(storage, "_backend", None), "_file_path", None)
    return None if path is None else Path(path)


def _is_cut(file: Path) -> bool:
    """Return whether a journal ends within a line, and not only while another process writes it."""
    for pause in (0.1, 0.3, 0.0):
        with suppress(OSError):
            text = file.read_bytes()[-1:]
            if text in (b"", b"\n"):
                return False
        time.sleep(pause)
    return file.exists()


def _broken_line(file: Path) -> int:
    """Return the number of the first line of a journal that is no JSON object, from 1, or 0."""
    with suppress(OSError), file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                if not isinstance(json.loads(line), dict):
                    return number
            except (ValueError, RecursionError):
                return number
    return 0
