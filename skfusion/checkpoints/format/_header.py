"""What a safetensors file holds, by its header alone: no tensor is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from skfusion.checkpoints.format._safetensors import DTYPES, HEADER

LONGEST = 100_000_000
"""Bytes that a header may have, as safetensors has it."""

_NAMES = {code: str(dtype).removeprefix("torch.") for dtype, code in DTYPES.items()}


@dataclass(frozen=True)
class Described:
    """The shape of a tensor, and its dtype by the name that torch has for it."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def n_numbers(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


def described(path: Path, ties: bool = False) -> dict[str, Described]:
    """Return what the tensors in a safetensors file are, by name; raise ``ValueError`` where it has no such header.

    A tensor that has several names is there once, by the first of them; with ``ties`` by each.
    """
    with path.open("rb") as file:
        length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
        if not 2 <= length <= min(LONGEST, size - 8):
            raise ValueError(f"{path} is damaged: it begins with no header.")
        text = file.read(length)
    try:
        header = json.loads(text)
        found = {name: _tensor(about, size) for name, about in header.items() if name != "__metadata__"}
        known = json.loads(header.get("__metadata__", {}).get(HEADER, "{}")) if ties else {}
        return found | {name: found[first] for name, first in known.get("ties", {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its header cannot be read.") from error


def _tensor(about: Mapping[str, Any], size: int) -> Described:
    shape, dtype = about["shape"], about["dtype"]
    if not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{about!r:.80} is no tensor")
    if prod(shape) > 8 * size or max(shape, default=0) > sys.maxsize:  # numbers of a bit are the smallest
        raise ValueError(f"{about!r:.80} does not fit into a file of {size} bytes")
    return Described(tuple(shape), _NAMES.get(dtype, dtype))
