"""Open checkpoints of any size: tensors are mapped from their files, and no code in a file is run."""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from skfusion.pool._directory import INDEX, read_index
from skfusion.pool._format import HEADER
from skfusion.state import State

PathLike = str | os.PathLike[str]

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Entries under which training programs keep the state."""
_COMPILED = re.compile(r"(^|\.)_orig_mod\.")
_REFUSED = re.compile(r"GLOBAL (\S+)")
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9"
"""What follows the two bytes of the protocol in files of torch before 1.6, which begin with a pickled number."""
_TRUSTED = (
    "If you trust the file, load it where it was made, and save its state dict alone: "
    "torch.save(model.state_dict(), ...)."
)
_REASON = re.compile(r"(?:WeightsUnpickler error:\s*|\A)([^.\n]+)(?!.*WeightsUnpickler error)", re.DOTALL)


@dataclass(frozen=True)
class Checkpoint:
    """One network on disk.

    Parameters
    ----------
    name : str
        What to call it in messages.
    state : State
        Tensors that are mapped from the files; tied ones are one tensor.
    files : tuple of Path
        Where it was read.
    notes : tuple of str
        What the user should know of the reading.
    in_memory : int
        Bytes that could not be mapped.
    """

    name: str
    state: State
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    in_memory: int = 0


def read_checkpoint(path: PathLike) -> State:
    """Return the state in a checkpoint, mapped into memory.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file; a checkpoint of ``torch.save`` that holds a state, or a dictionary with one under
        ``state_dict``, ``model_state_dict`` or ``model``; an index of shards (``*.index.json``); or a folder with one
        of these.

    Returns
    -------
    State
        Tensors on the CPU. Names that a file of this library records as tied are one tensor. The prefix ``_orig_mod.``
        of compiled modules is taken off.

    Raises
    ------
    ValueError
        If the file is damaged, holds no state, or would run code.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from skfusion.pool import read_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "last.pt"
    ...     torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, path)
    ...     read_checkpoint(path)["w"].tolist()
    [1.0, 1.0]
    """
    return open_checkpoint(path).state


def open_many(paths: list[PathLike], base: PathLike | None) -> tuple[list[Checkpoint], Checkpoint | None]:
    """Return the checkpoints of paths, and the base; a pool's directory stands for its members, and has its base."""
    found: list[Checkpoint] = []
    start = None if base is None else open_checkpoint(base)
    for path in map(Path, paths):
        if not (path / INDEX).is_file():
            found.append(open_checkpoint(path))
            continue
        index = read_index(path)
        found += [_renamed(open_checkpoint(path / m["state"]), f"{path}[{m['name']}]") for m in index["members"]]
        if start is None and index["base"] is not None:
            start = _renamed(open_checkpoint(path / index["base"]), f"{path}[base]")
    return found, start


def _renamed(checkpoint: Checkpoint, name: str) -> Checkpoint:
    return replace(checkpoint, name=name)


def open_checkpoint(path: PathLike) -> Checkpoint:
    """Return the checkpoint at a path; see :func:`read_checkpoint`."""
    path = Path(path)
    found = _open(_file_in(path) if path.is_dir() else path)
    state: State = {}
    for key, value in found.state.items():
        name = _COMPILED.sub(r"\1", key) if isinstance(key, str) else key
        _check_entry(key, value, path)
        if name in state:
            raise ValueError(f"{path} holds both {name!r} and {key!r}, which is its name in a compiled module.")
        state[name] = value.detach()
    notes = found.notes
    if state.keys() != found.state.keys():
        notes += (f"{path}: the prefix _orig_mod. of a compiled module is taken off.",)
    if not state:
        raise ValueError(f"{path} holds no tensors. Give a checkpoint with a state dict.")
    return replace(found, name=str(path), state=state, notes=notes)


def _check_entry(key: Any, value: Any, path: Path) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"Entry {key!r} of {path} is a {type(value).__name__}; a state holds tensors only. Save the state alone: "
            f"torch.save(model.state_dict(), ...), or under one of {', '.join(WRAPPERS)} in a dictionary."
        )
    if value.layout != torch.strided or value.is_quantized or value.is_meta or not isinstance(key, str):
        kind = "quantised" if value.is_quantized else f"{value.device.type} {value.layout}"
        raise ValueError(
            f"Tensor {key!r} of {path} is {kind}; only dense tensors with a string as name can be merged. Convert it "
            "before it is saved."
        )


def _file_in(folder: Path) -> Path:
    """Return the one checkpoint in a folder: an index before its shards, safetensors before others."""
    for pattern in ("*.safetensors.index.json", "*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth", "*.ckpt"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(p.name for p in found[:5]) + (", ..." if len(found) > 5 else "")
            raise ValueError(f"{folder} holds {len(found)} checkpoints ({names}); give the path of one of them.")
    raise FileNotFoundError(f"There is no checkpoint (.safetensors, .bin, .pt, .pth, .ckpt) in {folder}.")


def _open(path: Path) -> Checkpoint:
    if path.name.endswith(".index.json"):
        return _open_shards(path)
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:9] == b"{":
        return Checkpoint(str(path), _read_safetensors(path), (path,))
    if start[:2] == b"PK" or (start[:1] == b"\x80" and _OLD_TORCH.startswith(start[2:])):
        return _open_torch(path, mapped=start[:2] == b"PK")
    if start[:1] == b"\x80":
        raise ValueError(
            f"{path} is refused: it is a plain pickle and no file of torch.save, and pickles can run code. Nothing of "
            f"it was run. {_TRUSTED}"
        )
    what = "empty" if not start else "neither a safetensors file nor one of torch.save"
    raise ValueError(f"{path} is {what}. Give the path of a checkpoint.")


def _open_shards(path: Path) -> Checkpoint:
    try:
        places = json.loads(path.read_bytes())["weight_map"]
        shards = list(dict.fromkeys(places.values()))
        names = [Path(shard).name for shard in shards]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no index of shards: it has no weight_map of names to files ({error!r})."
        ) from error
    if foreign := [shard for shard, name in zip(shards, names, strict=True) if shard != name]:
        raise ValueError(f"{path} refers to {foreign[0]!r}; shards must lie in the folder of their index.")
    opened = {shard: _open(path.parent / shard) for shard in shards}
    state: State = {}
    for key, shard in places.items():
        if key not in opened[shard].state:
            raise ValueError(f"Tensor {key!r} is missing in {path.parent / shard}, where {path.name} places it.")
        state[key] = opened[shard].state[key]
    for part in opened.values():
        state |= {key: value for key, value in part.state.items() if key not in state}
    return Checkpoint(
        str(path),
        state,
        tuple(file for part in opened.values() for file in part.files),
        tuple(note for part in opened.values() for note in part.notes),
        sum(part.in_memory for part in opened.values()),
    )


def _read_safetensors(path: Path) -> State:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
        if header is None:
            return tensors
        return {key: tensors[header["ties"].get(key, key)] for key in header["order"]}
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        where = next(_cut_tensors(path), "")
        raise ValueError(f"{path} is damaged: {error}.{where} Fetch or save it again.") from error


def _cut_tensors(path: Path) -> Iterator[str]:
    """Yield which tensors end beyond the end of a safetensors file, as sentences."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, size)))
        for name, entry in header.items():
            end = 8 + length + entry["data_offsets"][1] if name != "__metadata__" else 0
            if end > size:
                yield f" Tensor {name!r} ends at byte {end}, and the file at byte {size}: it is cut off."
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return


def _open_torch(path: Path, mapped: bool) -> Checkpoint:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of archives of TorchScript, which are refused
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(_refusal(path, error)) from error
    state, notes = _state_in(found, path)
    if not mapped:
        notes.append(
            f"{path} has the format of torch before 1.6, which is read whole into memory; save it again to map it."
        )
    return Checkpoint(str(path), state, (path,), tuple(notes), 0 if mapped else path.stat().st_size)


def _refusal(path: Path, error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError) and (wanted := _REFUSED.search(str(error))):
        return f"{path} is refused: it asks to load {wanted[1]}, which is code and not a tensor. {_TRUSTED}"
    if "Unsupported operand" in str(error):
        return (
            f"{path} is damaged, or was saved with a pickle_protocol above 3, which is not read without running code. "
            "Fetch it again, or save it with torch.save's own protocol."
        )
    if "TorchScript" in str(error):
        return f"{path} is a program of TorchScript and not a state. Save torch.jit.load(...).state_dict() instead."
    reason = _REASON.search(str(error))
    return f"{path} is damaged, or no file of torch.save: {reason[1] if reason else error!r}. Fetch or save it again."


def _state_in(found: Any, path: Path) -> tuple[State, list[str]]:
    """Return the state in what torch has loaded, and a note where it lay below the top."""
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__} and no state dict. Save model.state_dict().")
    for key in WRAPPERS:
        inner = found.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            others = ", ".join(str(other) for other in found if other != key)
            left = f" The entries {others} are left aside." if others else ""
            return dict(inner), [f"{path}: its entry {key!r} is read.{left}"]
    return dict(found), []
