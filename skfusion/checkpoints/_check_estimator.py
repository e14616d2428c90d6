"""Whether the file of an estimator is one that this library would write, which is found before anything is built of it.

Such an archive cannot hold more than its size (zip bombs), has no names of other files (path traversal), no pickles,
no arrays whose headers promise more than there is, and no object that stands for itself.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from skfusion.checkpoints._archive import check_places, check_stored, entries_in

KNOWN, SCHEMA = "skfusion.json", "schema.json"
_NAME = re.compile(r"[0-9]{1,9}\.(?:npy|npz|bin)")
_ARRAY = re.compile(r"[a-z_]{1,20}\.npy")
_PICKLED = "torch", "skorch"
"""Packages whose objects keep parts of themselves as pickles."""
_LARGEST_HEADER = 10_000
"""Bytes of the header of an array; NumPy has the same limit."""


def check_archive(file: BinaryIO, size: int) -> None:
    """Raise ``ValueError`` where an archive is not one that we would write; nothing is built, and little is read."""
    names = set()
    for name, start, end in _stored(file, size):
        if name in names or not (name in (KNOWN, SCHEMA) or _NAME.fullmatch(name)):
            raise ValueError(f"its entry {name!r:.80} is none of an estimator")
        names.add(name)
        if name.endswith(".npy"):
            _check_array(file, start, end)
        elif name.endswith(".npz"):
            file.seek(start)
            _check_arrays(file.read(end - start))
    if not {KNOWN, SCHEMA} <= names:
        raise ValueError(f"it has no {KNOWN} or no {SCHEMA}")
    with zipfile.ZipFile(file) as archive:
        _check_schema(json.loads(archive.read(SCHEMA)), names)


def identity_in(node: dict[str, Any]) -> int | None:
    """Return the number of the object that a part of a schema describes, None where it is none."""
    identity = node.get("__id__")  # of a dictionary with such a key it is another node
    return identity if type(identity) is int else None


def _stored(file: BinaryIO, size: int) -> Iterator[tuple[str, int, int]]:
    """Yield the name, start and end of each entry of an archive."""
    entries, parts = entries_in(file)
    check_stored(entries, "a pool")
    check_places(parts, size)
    for part in parts:
        yield part.name, part.start, part.start + part.size


def _check_arrays(data: bytes) -> None:
    file = io.BytesIO(data)
    for name, start, end in _stored(file, len(data)):
        if not _ARRAY.fullmatch(name):
            raise ValueError(f"its entry {name!r:.80} is no array of a sparse matrix")
        _check_array(file, start, end)


def _check_array(file: BinaryIO, start: int, end: int) -> None:
    """Raise ``ValueError`` unless the header of an array announces as many bytes as there are."""
    file.seek(start)
    magic = file.read(min(8, end - start))
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8:
        raise ValueError("an array in it has no header")
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    begin = start + 8 + width + length
    if length > _LARGEST_HEADER or begin > end:
        raise ValueError(f"an array in it has a header of {length} bytes")
    try:
        header = ast.literal_eval(file.read(length).decode("latin1" if width == 2 else "utf8"))
        dtype, shape = np.lib.format.descr_to_dtype(header["descr"]), header["shape"]
        n_bytes = dtype.itemsize * math.prod(shape)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("the header of an array in it is damaged") from error
    if dtype.hasobject or not all(isinstance(n, int) and n >= 0 for n in shape) or n_bytes != end - begin:
        raise ValueError(f"an array in it has dtype {dtype!s:.80} and shape {shape!s:.80}, and {end - begin} bytes")


def _check_schema(schema: Any, names: set[str]) -> None:
    """Raise ``ValueError`` where a schema names files that are not there, holds torch, or describes one object twice.

    An identity that stands for another object, or for one around it, would make a description of a few bytes endless.
    """
    known: dict[int, Any] = {}
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left.extend(node)
        if not isinstance(node, dict):
            continue
        identity = identity_in(node)
        if identity is None and not isinstance(node.get("__id__", {}), dict):
            raise ValueError("it has an object whose identity is no number")
        if identity is not None and known.setdefault(identity, node) != node:
            raise ValueError(f"it describes its object {identity} in two ways")
        if isinstance(module := node.get("__module__"), str) and module.partition(".")[0] in _PICKLED:
            raise ValueError(f"it holds a {module}.{node.get('__class__')!s:.40}, whose parts would be unpickled")
        if isinstance(node.get("file"), str) and node["file"] not in names:
            raise ValueError(f"it refers to {node['file']!r:.80}, which is not in it")
        left.extend(node.values())
