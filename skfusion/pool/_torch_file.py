"""Read the files of ``torch.save``, without running what is in them."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skfusion.pool._archive import parts_of
from skfusion.state import State

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Entries under which training programs keep the state."""
OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9"
"""What follows the two bytes of the protocol in files of torch before 1.6, which begin with a pickled number."""
TRUSTED = (
    "If you trust the file, load it where it was made, and save its state dict alone: "
    "torch.save(model.state_dict(), ...)."
)
_REFUSED = re.compile(r"GLOBAL (\S+)")
_REASON = re.compile(r"(?:WeightsUnpickler error:\s*|\A)([^.\n]+)(?!.*WeightsUnpickler error)", re.DOTALL)
_DEPTH = 3
"""How deep a state is looked for, to say where it is."""


def read_torch(path: Path, mapped: bool, key: str | None) -> tuple[State, list[str]]:
    """Return the state in a file, and what the user should know of it.

    Parameters
    ----------
    path : Path
        The file.
    mapped : bool
        Whether it is an archive, whose tensors can be mapped; those of torch before 1.6 are not.
    key : str, optional
        The entry with the state, or entries one in another with dots between them.

    Returns
    -------
    state : dict
        Names to what should be tensors.
    notes : list of str
        Where it lay below the top, and where it had to be read into memory.
    """
    if mapped:
        parts_of(path)  # raises before anything is inflated
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of another protocol of pickle, which is refused or read
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(_refusal(path, error)) from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__} and no state dict. Save model.state_dict().")
    state, notes = _state_in(found, path) if key is None else _entry(found, key, path)
    if not mapped:
        notes.append(
            f"{path} has the format of torch before 1.6, which is read whole into memory; save it again to map it."
        )
    return state, notes


def _refusal(path: Path, error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError) and (wanted := _REFUSED.search(str(error))):
        return f"{path} is refused: it asks to load {wanted[1]}, which is code and not a tensor. {TRUSTED}"
    if "Unsupported operand" in str(error):
        return (
            f"{path} is damaged, or was saved with a pickle_protocol above 3, which is not read without running code. "
            "Fetch it again, or save it with torch.save's own protocol."
        )
    reason = _REASON.search(str(error))
    return f"{path} is damaged, or no file of torch.save: {reason[1] if reason else error!r}. Fetch or save it again."


def _state_in(found: Mapping[Any, Any], path: Path) -> tuple[State, list[str]]:
    """Return the state in what torch has loaded, and a note where it lay below the top."""
    for key in WRAPPERS:
        if _is_state(found.get(key)):
            return dict(found[key]), [_read(path, key, found)]
    if places := _places(found, "", _DEPTH):
        raise ValueError(
            f"{path} holds no state at the top, but under {', '.join(map(repr, places[:10]))}. Say which to read: "
            f"key={places[0]!r} (--key {places[0]})."
        )
    return dict(found), []


def _entry(found: Mapping[Any, Any], key: str, path: Path) -> tuple[State, list[str]]:
    inner, rest = found, key
    while rest and isinstance(inner, Mapping):
        name = rest if rest in inner else next((n for n in _starts(rest) if n in inner), None)
        if name is None:
            break
        inner, rest = inner[name], rest[len(name) + 1 :]
    if not rest and isinstance(inner, Mapping):
        return dict(inner), [_read(path, key, found)]
    if all(isinstance(value, Tensor) for value in found.values()):
        return dict(found), [f"{path}: there is no entry {key!r}; the file is a state itself, and is read."]
    places = ", ".join(map(repr, _places(found, "", _DEPTH)[:10])) or "no key"
    raise ValueError(f"{path} has no state under {key!r}; there are states under {places}. Give another key (--key).")


def _starts(name: str) -> list[str]:
    """Return the beginnings of a name that end before a dot, the longest first."""
    return [name[:k] for k in range(len(name) - 1, 0, -1) if name[k] == "."]


def _places(found: Mapping[Any, Any], before: str, depth: int) -> list[str]:
    """Return the keys of all states below."""
    places = []
    for name, inner in found.items() if depth else ():
        if isinstance(name, str) and isinstance(inner, Mapping):
            places += [before + name] if _is_state(inner) else _places(inner, f"{before}{name}.", depth - 1)
    return places


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(inner, Tensor) for inner in value.values())


def _read(path: Path, key: str, found: Mapping[Any, Any]) -> str:
    others = ", ".join(str(other) for other in found if str(other) != key.partition(".")[0] and str(other) != key)
    return f"{path}: its entry {key!r} is read." + (f" The entries {others} are left aside." if others else "")
