"""Fitted estimators as files of skops: types by name and numbers, which are checked before anything is built of them.

An archive of skops is written anew with entries that are stored as they are, in one order and under counted names, so
that equal estimators give equal bytes. What is built are types that skops trusts, and those that the user has named.
Torch modules and skorch nets are refused always: their parts are pickles.
"""

from __future__ import annotations

import io
import json
import types
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from skfusion.checkpoints._check_estimator import KNOWN, SCHEMA, check_archive, identity_in

_TIME = (1980, 1, 1, 0, 0, 0)
_LEAVES = str, bytes, int, float, type, np.ndarray, types.ModuleType


class UntrustedTypesError(ValueError):
    """A file holds types that are built only where the user has named them."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"it holds types that are not trusted: {names}")
        self.names = names


def estimator_to_bytes(estimator: Any, owner: str, known: dict[str, Any]) -> bytes:
    """Return a fitted estimator as a file; ``owner`` says in messages whose it is, and the file holds ``known`` too."""
    if _holds_torch(estimator):
        raise ValueError(
            f"{owner} is a {type(estimator).__name__} that holds a torch module, which cannot be stored without "
            "pickles. Store the states of its networks: ModelPool.from_estimators([(name, net), ...]) makes members of "
            "fitted skorch nets, and the pool of a fitted fusion is its pool_."
        )
    if not hasattr(estimator, "predict"):
        raise ValueError(f"{owner} is a {type(estimator).__name__}, which has no predict. Give a fitted estimator.")
    skops = _skops(owner)
    try:
        data = skops.dumps(estimator)
        # What cannot be read back, as a function of the user's session, is refused while it can still be helped.
        skops.loads(data, trusted=skops.get_untrusted_types(data=data))
    except Exception as error:  # that of any library
        reason = " ".join(str(error)[:300].split())
        raise ValueError(
            f"{owner} cannot be stored: skops does not hold this {type(estimator).__name__} ({type(error).__name__}: "
            f"{reason}). Leave it out, or keep it in memory."
        ) from error
    packed = _packed(_files_in(data), known)
    try:
        check_archive(io.BytesIO(packed), len(packed))
    except ValueError as error:
        raise ValueError(f"{owner} cannot be stored: {error}. Leave it out, or keep it in memory.") from error
    return packed


def with_known(data: bytes, known: dict[str, Any]) -> bytes:
    """Return the file of an estimator with something else known of it; nothing is built."""
    check_archive(io.BytesIO(data), len(data))
    return _packed(_files_in(data), known)


def read_known_estimator(path: Path) -> dict[str, Any]:
    """Return what the file of an estimator holds of ours; nothing is built, and any error means damage."""
    with path.open("rb") as file:
        check_archive(file, path.stat().st_size)
        with zipfile.ZipFile(file) as archive:
            return dict(json.loads(archive.read(KNOWN)))


def read_estimator(path: Path, trusted: Collection[Any] | None = (), owner: str = "a member") -> Any:
    """Return the estimator in a file of which nothing is built before its archive and its types have been checked.

    None as ``trusted`` is all types, for what this process has written itself. Raises ``UntrustedTypesError`` where it
    holds types that neither skops nor ``trusted`` knows; any other error but ``ImportError`` means damage.
    """
    skops = _skops(owner)
    with path.open("rb") as file:
        check_archive(file, path.stat().st_size)
    unknown = skops.get_untrusted_types(file=path)
    names = {t if isinstance(t, str) else f"{t.__module__}.{t.__qualname__}" for t in trusted or ()}
    if trusted is not None and (foreign := [name for name in unknown if name not in names]):
        raise UntrustedTypesError(foreign)
    estimator = skops.load(path, trusted=unknown)
    if not hasattr(estimator, "predict"):
        raise ValueError(f"it holds a {type(estimator).__name__}, which has no predict")
    return estimator


def _skops(owner: str) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            f"{owner} is no network but a fitted estimator, which skops writes and reads without pickles. Install it: "
            "pip install 'skfusion[skops]'."
        ) from error
    return skops.io


def _holds_torch(thing: Any) -> bool:
    """Return whether a module or tensor of torch is found in what an object holds."""
    seen: dict[int, Any] = {}
    left = [thing]
    while left:
        item = left.pop()
        if isinstance(item, nn.Module | Tensor):
            return True
        if id(item) in seen or isinstance(item, _LEAVES):
            continue
        seen[id(item)] = item
        left.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple | set) else ())
        left.extend(getattr(item, "__dict__", {}).values())
    return False


# ------------------------------------------------------------------------------------------------------------- writing


def _packed(files: dict[str, bytes], known: dict[str, Any]) -> bytes:
    """Return an archive that depends on nothing but the content of files of skops, and on what is known."""
    names: dict[str, str] = {}
    contents: dict[tuple[str, bytes], str] = {}

    def rename(name: str) -> str:
        if name not in names:
            suffix = name.rpartition(".")[2]
            data = _archive(_files_in(files[name])) if suffix == "npz" else files[name]
            names[name] = contents.setdefault((suffix, data), f"{len(contents)}.{suffix}")
        return names[name]

    schema = _renamed(json.loads(files[SCHEMA]), {}, rename)
    entries = {KNOWN: _text(known), SCHEMA: _text(schema)}
    return _archive({**entries, **{name: data for (_, data), name in contents.items()}})


def _renamed(node: Any, seen: dict[int, Any], rename: Any) -> Any:
    """Return a part of a schema with counted identities and files; skops names them by addresses in memory."""
    if isinstance(node, list):
        return [_renamed(item, seen, rename) for item in node]
    if not isinstance(node, dict):
        return node
    identity = identity_in(node)
    if identity in seen:
        return seen[identity]  # as reading does: of an object that occurs again only the first description counts
    place = len(seen) + 1
    copy: dict[str, Any] = {}
    if identity is not None:
        seen[identity] = copy
    for key, value in node.items():
        if key == "__id__" and identity is not None:
            copy[key] = place
        elif key == "file" and isinstance(value, str):
            copy[key] = rename(value)
        else:
            copy[key] = _renamed(value, seen, rename)
    return copy


def _files_in(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # as on every system
            archive.writestr(entry, data)
    return buffer.getvalue()


def _text(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False).encode("ascii")
