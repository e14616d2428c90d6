"""Read members from the files of a pool's directory; every error names the file, whose it is, and the remedy."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from skfusion.checkpoints.format import (
    INDEX,
    PoolFormatError,
    meta_from_json,
    read_array,
    read_state,
    refuse,
    score_from_json,
)
from skfusion.pool._member import Member

T = TypeVar("T")


def read_member(directory: Path, entry: dict[str, Any], rows: dict[str, np.ndarray]) -> Member:
    """Return the member of an entry; arrays of training rows are looked up in ``rows``, and added there."""
    owner, file = f"member {entry['name']!r}", entry["rows"]
    if file is not None and file not in rows:
        rows[file] = read_file(read_array, directory / file, f"the training rows of {owner}")
    state = read_file(read_state, directory / entry["state"], owner)
    predictions = entry.get("predictions")
    if predictions is not None:
        predictions = read_file(read_array, directory / predictions, f"the predictions of {owner}")
    try:
        score, meta = score_from_json(entry["score"]), meta_from_json(entry["meta"])
    except RecursionError as error:  # of metadata that was nested on purpose
        refuse(directory / INDEX, error)
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
