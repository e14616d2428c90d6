"""The files of a pool: states as safetensors, everything else as JSON."""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

from skfusion._numbers import place_of
from skfusion.pool._member import Member, as_json
from skfusion.state import State

DATA_FILE = re.compile(r"(?:state|rows|predictions)-[0-9a-f]{64}\.safetensors")
HEADER = "skfusion"
_MOST = 2**24
"""Bytes of what is known of a member above which its file does not hold it too: a header has at most 100 MB."""

# fmt: off
_DTYPES = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16",
    "float32", "float64", "complex64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
)
# fmt: on


class PoolFormatError(ValueError):
    """A directory is not a pool, is damaged, or was written by a newer version."""


def library_version() -> str:
    """Return the version of the library that is running."""
    # Looked up and not imported: the pool lies below what the top module imports.
    return str(getattr(sys.modules[__name__.partition(".")[0]], "__version__", "unknown"))


def state_to_bytes(state: State, owner: str, known: dict[str, Any] | None = None) -> bytes:
    """Return a state as a safetensors file; equal states of equal owners give equal bytes.

    Parameters
    ----------
    state : State
        Tensors of any device and stride; tied ones are written once.
    owner : str
        Whose state it is, in the words of a message.
    known : dict, optional
        What else the header holds, so that a pool can be recovered from its states alone.

    Returns
    -------
    bytes
        The file. Its header tells the order of the names and which are ties.

    Raises
    ------
    TypeError
        If a value is not a tensor.
    ValueError
        If safetensors has no way to write a tensor.
    """
    places: dict[tuple[object, ...], str] = {}
    storages: set[int] = set()
    tensors: State = {}
    ties: dict[str, str] = {}
    for key, t in state.items():
        if not isinstance(t, torch.Tensor):
            raise TypeError(f"Entry {key!r} of {owner} is a {type(t).__name__}; a state holds tensors only.")
        if t.layout != torch.strided or str(t.dtype).removeprefix("torch.") not in _DTYPES or t.is_meta:
            raise ValueError(
                f"Tensor {key!r} of {owner} has dtype {t.dtype}, layout {t.layout} and device {t.device}; safetensors "
                f"cannot hold that. Convert it to a dense tensor of one of {', '.join(_DTYPES)}."
            )
        place = place_of(t)
        if t.numel() and place in places:
            ties[key] = places[place]
            continue
        places[place] = key
        flat = t.detach().resolve_conj().resolve_neg().cpu().contiguous()
        # Safetensors refuses overlapping views of one storage, which need not be ties.
        tensors[key] = flat.clone() if flat.untyped_storage().data_ptr() in storages else flat
        storages.add(flat.untyped_storage().data_ptr())
    # One metadata key only: safetensors writes several in random order, and the name of a file is its content's hash.
    header = json.dumps({**(known or {}), "order": list(state), "ties": ties}, sort_keys=True, allow_nan=False)
    if len(header) > _MOST:
        header = json.dumps({"order": list(state), "ties": ties}, sort_keys=True)
    return safetensors.torch.save(tensors, {HEADER: header})


def read_state(path: Path) -> State:
    """Return the state in a file of :func:`state_to_bytes`, mapped into memory."""
    return read_known(path)[0]


def read_known(path: Path) -> tuple[State, dict[str, Any]]:
    """Return the state in a file of :func:`state_to_bytes`, and what else its header holds."""
    check_digest(path)
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    ties = header.pop("ties")
    return {key: tensors[ties.get(key, key)] for key in header.pop("order")}, header


def array_to_bytes(array: np.ndarray, owner: str) -> bytes:
    """Return an array as a safetensors file; ``owner`` tells whose it is, in the words of a message."""
    array = np.ascontiguousarray(array)
    try:
        return safetensors.numpy.save({"rows": array})
    except safetensors.SafetensorError as error:
        raise ValueError(f"{owner} have dtype {array.dtype}, and a file holds numbers of at most 64 bits.") from error


def read_array(path: Path) -> np.ndarray:
    """Return the array in a file of :func:`array_to_bytes`."""
    check_digest(path)
    return safetensors.numpy.load_file(path)["rows"]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for ever, and a device may have no end
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path) -> None:
    """Raise ``ValueError`` if a file's content is not the one that its name tells."""
    if digest_of(path) not in path.name:
        raise ValueError("its content has changed since it was written")


def member_to_json(
    member: Member, state_file: str, rows_file: str | None, predictions_file: str | None = None
) -> dict[str, Any]:
    """Return the entry of a member in the index."""
    score = float(member.score)
    try:
        meta = json.loads(as_json(member.meta))
    except ValueError as error:
        raise ValueError(f"Member {member.name!r} cannot be stored. {error}") from error
    return {
        "name": member.name,
        "state": state_file,
        "score": score if math.isfinite(score) else None if math.isnan(score) else str(score),
        "meta": _to_json(meta),
        "rows": rows_file,
        "predictions": predictions_file,
    }


def member_from_json(
    entry: dict[str, Any], state: State, rows: np.ndarray | None, predictions: np.ndarray | None
) -> Member:
    """Return the member of an entry in the index."""
    score, meta = score_from_json(entry["score"]), _from_json(entry["meta"])
    return Member(entry["name"], state, score, meta, rows, predictions=predictions)


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
    return {"dtype": classes.dtype.str, "values": _to_json(classes.tolist())}


def classes_from_json(stored: dict[str, Any] | None) -> np.ndarray | None:
    """Return class labels from an index."""
    if stored is None:
        return None
    values, dtype = _from_json(stored["values"]), np.dtype(stored["dtype"])
    if not isinstance(values, list) or any(isinstance(value, list | dict) for value in values):
        raise ValueError("classes are no list of labels")
    if dtype.kind not in "biufUO" or (dtype.kind == "U" and dtype.itemsize > 4 * max([1, *map(len, values)])):
        raise ValueError(f"{stored['dtype']!r:.80} is no dtype of class labels")
    return np.array(values, dtype=dtype)


def score_from_json(stored: float | str | None) -> float:
    """Return the score in an entry."""
    if not (stored is None or stored in ("inf", "-inf") or (isinstance(stored, int | float) and stored is not True)):
        raise ValueError(f"{stored!r:.80} is no score")
    return math.nan if stored is None else float(stored)


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(float(value))}
    if isinstance(value, dict):
        return {key: _to_json(inner) for key, inner in value.items()}
    return [_to_json(inner) for inner in value] if isinstance(value, list) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf"):
            return float(value["$float"])
        return {key: _from_json(inner) for key, inner in value.items()}
    return [_from_json(inner) for inner in value] if isinstance(value, list) else value
