"""The text of a pool's index and of its journal, their values as JSON, and the check of what is read."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

INDEX = "pool.json"
DATA_FILE = re.compile(r"(?:state|rows|predictions)-[0-9a-f]{64}\.safetensors|estimator-[0-9a-f]{64}\.skops")
JOURNAL = re.compile(r"journal-[0-9a-f]{16}\.jsonl")
FORMAT = 3
"""The highest number of a format that is read: 1 had no check sum, 2 no estimators. The lowest that can is written."""
_WITHOUT_ESTIMATORS = 2
KIND = "skfusion.ModelPool"
CHECKED = re.compile(rb'\{"check": "([0-9a-f]{64})", ')
_PARTS = ("state", "rows", "predictions", "estimator")
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What a crafted text raises in the checks below."""


class PoolFormatError(ValueError):
    """A directory is not a pool, is damaged, or was written by a newer version."""


def library_version() -> str:
    """Return the version of the library that is running."""
    # Looked up and not imported: this room lies below what the top module imports.
    return str(getattr(sys.modules[__name__.partition(".")[0]], "__version__", "unknown"))


def format_for(entries: Iterable[dict[str, Any]]) -> int:
    """Return the number of the format that holds entries: earlier versions read pools that have no estimators."""
    return FORMAT if any(entry.get("estimator") for entry in entries) else _WITHOUT_ESTIMATORS


def index_to_bytes(entries: list[str], classes: Any, base: str | None, journal: str | None, number: int) -> bytes:
    """Return an index as JSON that begins with the SHA-256 of what follows.

    ``entries`` are the members as JSON, in their order; ``base`` and ``journal`` are names of files, and ``number`` is
    that of the format.
    """
    head = {"base": base, "classes": classes, "format": number, "journal": journal, "kind": KIND}
    head["version"] = library_version()
    # A line for each member is legible, and many times faster than indentation, which json does in Python.
    rest = json.dumps(head, sort_keys=True, allow_nan=False)[1:-1] + ', "members": [\n' + ",\n".join(entries) + "\n]}\n"
    return _checked(rest)


def line_of(event: str, what: Any) -> bytes:
    """Return a line of the journal: an event and what it is about, with their check sum."""
    return _checked(json.dumps({event: what}, allow_nan=False)[1:] + "\n")


def _checked(rest: str) -> bytes:
    text = rest.encode("ascii")
    return b'{"check": "%s", ' % hashlib.sha256(text).hexdigest().encode() + text


def entry_to_text(entry: dict[str, Any]) -> str:
    """Return the entry of a member as one line of JSON."""
    return json.dumps(entry, sort_keys=True, allow_nan=False)


def index_from_bytes(text: bytes, path: Path) -> dict[str, Any]:
    """Return the checked index in a file's text, with ``members``, ``classes``, ``base``, ``journal``, ``format``.

    Raises ``PoolFormatError`` if it is no index, is damaged, or has a newer format.
    """
    try:
        index = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    number = index.get("format") if isinstance(index, dict) else None
    if not isinstance(index, dict) or index.get("kind") != KIND or type(number) is not int or number < 1:
        raise PoolFormatError(f"{path} was not written by skfusion, so {path.parent} is not a pool. Give another path.")
    if number > FORMAT:
        raise PoolFormatError(
            f"{path} has format {number}, written by skfusion {index.get('version')!s:.20}; this is skfusion "
            f"{library_version()}, which knows formats up to {FORMAT}. Upgrade it: pip install --upgrade skfusion."
        )
    try:
        if "check" in index or number > 1:
            _verify(text)
        classes_from_json(index["classes"])
        if not isinstance(index["members"], list):
            raise ValueError(f"members are a {type(index['members']).__name__} and no list")
        names = [check_entry(entry) for entry in index["members"]]
        if len(set(names)) < len(names):
            raise ValueError("two members have one name")
        _check_file(index["base"], DATA_FILE, "state", optional=True)
        _check_file(index.setdefault("journal", None), JOURNAL, "journal", optional=True)
    except _DAMAGE as error:
        raise damaged(path, error) from error
    return index


def event_from_line(line: bytes, path: Path) -> tuple[str, Any]:
    """Return an event of the journal and what it is about, checked."""
    try:
        _verify(line)
        record = _parsed(line)
        (event,) = record.keys() - {"check"}
        if event == "put":
            check_entry(record[event])
        elif event != "delete" or not isinstance(record[event], str):
            raise ValueError(f"{event!r} is no event")
    except _DAMAGE as error:
        raise damaged(path, error) from error
    return event, record[event]


def _parsed(text: bytes) -> Any:
    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text.decode("ascii"), parse_constant=constant)


def _verify(text: bytes) -> None:
    head = CHECKED.match(text)
    if head is None or hashlib.sha256(text[head.end() :]).hexdigest().encode() != head[1]:
        raise ValueError("its content has changed since it was written")


def check_entry(entry: Any) -> str:
    """Return the name of a member, or raise an error where its entry is not one."""
    if not (isinstance(entry["name"], str) and isinstance(entry["meta"], dict)):
        raise ValueError(f"name {entry['name']!r:.80} or its meta has the wrong type")
    score_from_json(entry["score"])
    estimator = entry.get("estimator")
    _check_file(estimator, DATA_FILE, "estimator", optional=True)
    _check_file(entry["state"], DATA_FILE, "state", optional=estimator is not None)
    if estimator is not None and entry["state"] is not None:
        raise ValueError(f"member {entry['name']!r:.80} has both a state and an estimator")
    _check_file(entry["rows"], DATA_FILE, "rows", optional=True)
    _check_file(entry.get("predictions"), DATA_FILE, "predictions", optional=True)
    name: str = entry["name"]
    return name


def _check_file(name: Any, pattern: re.Pattern[str], kind: str, optional: bool) -> None:
    # Only such names are ever opened or removed, so a crafted index cannot reach files outside of its directory.
    if name is None and optional:
        return
    if not (isinstance(name, str) and pattern.fullmatch(name) and name.startswith(f"{kind}-")):
        raise ValueError(f"{name!r:.80} is not the name of a {kind} file of a pool")


def file_name(kind: str, digest: str) -> str:
    """Return the name of a data file of some kind, whose content has this SHA-256."""
    return f"{kind}-{digest}.{'skops' if kind == 'estimator' else 'safetensors'}"


def files_of(entry: dict[str, Any]) -> list[str]:
    """Return the names of the files of a member."""
    return [entry[part] for part in _PARTS if entry.get(part) is not None]


def damaged(path: Path, reason: str | Exception) -> PoolFormatError:
    """Return the error for a damaged index or journal, with both remedies."""
    if isinstance(reason, RecursionError):
        reason = "it is nested too deeply"
    elif isinstance(reason, Exception):
        missing = "it has no " if isinstance(reason, KeyError) else ""
        reason = missing + " ".join(str(reason)[:200].split())
    return PoolFormatError(
        f"{path} is damaged: {reason}. Restore it from a backup, or read the states beside it by "
        f"ModelPool.recover({str(path.parent)!r}) and save them into another directory."
    )


def score_to_json(score: float) -> float | str | None:
    """Return a score as what JSON can hold: None for NaN, and infinity as text."""
    return score if math.isfinite(score) else None if math.isnan(score) else str(score)


def score_from_json(stored: float | str | None) -> float:
    """Return the score that :func:`score_to_json` has stored."""
    if not (stored is None or stored in ("inf", "-inf") or (isinstance(stored, int | float) and stored is not True)):
        raise ValueError(f"{stored!r:.80} is no score")
    return math.nan if stored is None else float(stored)


def classes_to_json(classes: np.ndarray | None) -> dict[str, Any] | None:
    """Return class labels as what JSON can hold; their dtype is kept."""
    if classes is None:
        return None
    plain = classes.dtype.kind in "biufU" and classes.dtype != np.longdouble
    if not plain and not (
        classes.dtype.kind == "O" and all(isinstance(c, (str, bool, int, float, type(None))) for c in classes.flat)
    ):
        raise ValueError(
            f"Class labels of dtype {classes.dtype} cannot be stored; a file holds numbers, strings and booleans. "
            "Encode the labels first, e.g. with LabelEncoder."
        )
    return {"dtype": classes.dtype.str, "values": meta_to_json(classes.tolist())}


def classes_from_json(stored: dict[str, Any] | None) -> np.ndarray | None:
    """Return the class labels that :func:`classes_to_json` has stored."""
    if stored is None:
        return None
    values, dtype = meta_from_json(stored["values"]), np.dtype(stored["dtype"])
    if not isinstance(values, list) or any(isinstance(value, list | dict) for value in values):
        raise ValueError("classes are no list of labels")
    # A crafted width of text would take gigabytes for a handful of labels.
    if dtype.kind not in "biufUO" or (dtype.kind == "U" and dtype.itemsize > 4 * max([1, *map(len, values)])):
        raise ValueError(f"{stored['dtype']!r:.80} is no dtype of class labels")
    return np.array(values, dtype=dtype)


def meta_to_json(value: Any) -> Any:
    """Return metadata with NaN and infinity, which JSON lacks, as ``{"$float": "nan"}``."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(float(value))}
    if isinstance(value, dict):
        return {key: meta_to_json(inner) for key, inner in value.items()}
    return [meta_to_json(inner) for inner in value] if isinstance(value, list) else value


def meta_from_json(value: Any) -> Any:
    """Return the metadata that :func:`meta_to_json` has stored."""
    if isinstance(value, dict):
        if value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf"):
            return float(value["$float"])
        return {key: meta_from_json(inner) for key, inner in value.items()}
    return [meta_from_json(inner) for inner in value] if isinstance(value, list) else value
