"""Write safetensors files as a stream, each in the place of what was there, or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

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


def header_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the first bytes of a safetensors file, up to the data.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        What the file will hold, in the order of the data. Only shapes and dtypes are looked at.
    metadata : mapping of str to str
        Kept as it is.

    Returns
    -------
    bytes
        The length of the header in eight bytes, the header as JSON, and spaces up to a multiple of eight bytes.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES or name in header:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise ValueError(
                f"Tensor {name!r} of dtype {tensor.dtype} cannot be written: safetensors holds {known}, and no tensor "
                "of the name '__metadata__'. Convert or rename it."
            )
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def data_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor in the order of its elements, without a copy where they lie so in memory."""
    return memoryview(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy())


def aligned(names: Iterable[str], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return names with tensors of large elements first, so that each begins at a multiple of its element's size."""
    return sorted(names, key=lambda name: -tensors[name].element_size())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside a path, which takes its place at the end, or vanishes where something is raised.

    Parameters
    ----------
    path : Path
        The file to be replaced at once; it need not exist.

    Yields
    ------
    BinaryIO
        To write to; it is on the disk before it takes the place.
    """
    temporary = path.parent / f".{path.name}.writing-{secrets.token_hex(8)}"
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "Nothing is left of it, and what was there is as before: make room, or give another place."
            raise OSError(error.errno, f"{error.strerror} to write {path}. {advice}") from error
        raise
    with suppress(OSError):  # not every system can sync a directory
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
