"""Safetensors files: a tensor that has several names is written once, and the header records its other names."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from skfusion.state import State, owners

HEADER = "skfusion"
"""The key of our part of a file's metadata: the order of the names, ties, and in pools what is known of the member."""
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
}
"""What safetensors calls a dtype."""
_LARGEST_HEADER = 2**24
"""Bytes of what is known of a member above which its file does not hold it too: a header has at most 100 MB."""


def header_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the first bytes of a file, up to the data, whose order is that of ``tensors``; no data are read."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES or name in header:
            raise ValueError(
                f"Tensor {name!r} of dtype {tensor.dtype} cannot be written: safetensors holds {_dtypes()}, and no "
                "tensor of the name '__metadata__'. Convert or rename it."
            )
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def data_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor in the order of its elements, without a copy where they lie so in memory."""
    return tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().data


def aligned(names: Iterable[str], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return names with tensors of large elements first, so that each begins at a multiple of its element's size."""
    return sorted(names, key=lambda name: -tensors[name].element_size())


def _dtypes() -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)


def state_to_bytes(state: State, owner: str, known: dict[str, Any] | None = None) -> bytes:
    """Return a state as a file; equal states of equal owners give equal bytes.

    ``owner`` says in messages whose state it is. The header holds ``known`` too, so that a pool can be recovered from
    its states alone.
    """
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"Entry {name!r} of {owner} is a {type(tensor).__name__}; a state holds tensors only.")
        if tensor.layout != torch.strided or tensor.dtype not in DTYPES or tensor.is_meta:
            raise ValueError(
                f"Tensor {name!r} of {owner} has dtype {tensor.dtype}, layout {tensor.layout} and device "
                f"{tensor.device}; safetensors cannot hold that. Convert it to a dense tensor of one of {_dtypes()}."
            )
    ties = {name: first for name, first in owners([state]).items() if name != first}
    storages: set[int] = set()
    tensors: State = {}
    for name in (name for name in state if name not in ties):
        flat = state[name].detach().resolve_conj().resolve_neg().cpu().contiguous()
        # Safetensors refuses overlapping views of one storage, which need not be ties.
        tensors[name] = flat.clone() if flat.untyped_storage().data_ptr() in storages else flat
        storages.add(flat.untyped_storage().data_ptr())
    # One metadata key only: safetensors writes several in random order, and the name of a file is its content's hash.
    header = json.dumps({**(known or {}), "order": list(state), "ties": ties}, sort_keys=True, allow_nan=False)
    if len(header) > _LARGEST_HEADER:
        header = json.dumps({"order": list(state), "ties": ties}, sort_keys=True)
    return safetensors.torch.save(tensors, {HEADER: header})


def read_known(path: Path) -> tuple[State, dict[str, Any]]:
    """Return the state in a file of a pool, mapped, and what else its header holds; any error means damage.

    As with the other readers of a pool's files, ``check_digest`` is called before.
    """
    state, known = _contents(path)
    if known is None:
        raise ValueError("it has no header of skfusion")
    return state, known


def read_state(path: Path) -> State:
    """Return the state in a file of a pool, mapped into memory."""
    return read_known(path)[0]


def read_safetensors(path: Path) -> State:
    """Return the tensors in a file of any program, mapped into memory; names that we recorded as ties are tied."""
    try:
        return _contents(path)[0]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        where = next(_cut_tensors(path), "")
        raise ValueError(f"{path} is damaged: {error}.{where} Fetch or save it again.") from error


def _contents(path: Path) -> tuple[State, dict[str, Any] | None]:
    """Return the state in a file and what its header holds of ours, None in a file of another program."""
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        header = json.loads((file.metadata() or {}).get(HEADER, "null"))
    if header is None:
        return tensors, None
    ties = header.pop("ties")
    return {key: tensors[ties.get(key, key)] for key in header.pop("order")}, header


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


def array_to_bytes(array: np.ndarray, owner: str) -> bytes:
    """Return an array as a file; ``owner`` says in messages whose it is."""
    array = np.ascontiguousarray(array)
    try:
        return safetensors.numpy.save({"rows": array})
    except safetensors.SafetensorError as error:
        raise ValueError(f"{owner} have dtype {array.dtype}, and a file holds numbers of at most 64 bits.") from error


def read_array(path: Path) -> np.ndarray:
    """Return the array in a file of :func:`array_to_bytes`."""
    return safetensors.numpy.load_file(path)["rows"]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for ever, and a device may have no end
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path) -> None:
    """Raise ``ValueError`` if a file's content is not the one whose hash is in its name."""
    if digest_of(path) not in path.name:
        raise ValueError("its content has changed since it was written")
