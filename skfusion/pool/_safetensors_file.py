"""Read safetensors files of this and other programs, and say where one is cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import safetensors

from skfusion.pool._format import HEADER
from skfusion.state import State


def read_safetensors(path: Path) -> State:
    """Return the tensors of a file, mapped; names that a file of this library records as tied are one tensor.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    State
        In the order of the file, or in the one that it records.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
        if header is None:
            return tensors
        return {key: tensors[header["ties"].get(key, key)] for key in header["order"]}
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        where = next(_cut_tensors(path), "")
        raise ValueError(f"{path} is damaged: {error}.{where} Fetch or save it again.") from error


def _cut_tensors(path: Path) -> Iterator[str]:
    """Yield which tensors end beyond the end of a file, as sentences."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, size)))
        for name, entry in header.items():
            end = 8 + length + entry["data_offsets"][1] if name != "__metadata__" else 0
            if end > size:
                yield f" Tensor {name!r} ends at byte {end}, and the file at byte {size}: it is cut off."
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return
