"""Read the files of ``torch.save`` without running code in them: ``torch.load(weights_only=True)``, memory-mapped."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skfusion.checkpoints._archive import parts_of
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
_SHOWN = 10


def read_torch(path: Path, mapped: bool, key: str | None) -> tuple[State, list[str]]:
    """Return the state in a file, which is not checked yet, and what the user should know of it.

    ``mapped`` is True for archives, whose tensors can be mapped; files of torch before 1.6 are read into memory.
    """
    if mapped:
        parts_of(path)  # refuses compressed entries before anything is inflated
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about another pickle protocol, which is refused or read
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(_refusal(path, error)) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__} and no state dict. Save model.state_dict().")
    state, notes = _state_in(content, path) if key is None else _entry(content, key, path)
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


def _state_in(content: Mapping[Any, Any], path: Path) -> tuple[State, list[str]]:
    """Return the state in what torch has loaded, and a note where it is not at the top."""
    for key in WRAPPERS:
        if _is_state(content.get(key)):
            return dict(content[key]), [_note(path, key, content)]
    if places := _places(content, "", _DEPTH):
        raise ValueError(
            f"{path} holds no state at the top, but under {', '.join(map(repr, places[:_SHOWN]))}. Say which to read: "
            f"key={places[0]!r} (--key {places[0]})."
        )
    return dict(content), []


def _entry(content: Mapping[Any, Any], key: str, path: Path) -> tuple[State, list[str]]:
    """Return the state under ``key``; dots separate entries in entries, but names may contain dots as well."""
    inner, rest = content, key
    while rest and isinstance(inner, Mapping):
        starts = [rest, *(rest[:k] for k in range(len(rest) - 1, 0, -1) if rest[k] == ".")]  # the longest first
        name = next((start for start in starts if start in inner), None)
        if name is None:
            break
        inner, rest = inner[name], rest[len(name) + 1 :]
    if not rest and isinstance(inner, Mapping):
        return dict(inner), [_note(path, key, content)]
    if all(isinstance(value, Tensor) for value in content.values()):
        return dict(content), [f"{path}: there is no entry {key!r}; the file is a state itself, and is read."]
    places = ", ".join(map(repr, _places(content, "", _DEPTH)[:_SHOWN])) or "no key"
    raise ValueError(f"{path} has no state under {key!r}; there are states under {places}. Give another key (--key).")


def _places(content: Mapping[Any, Any], before: str, depth: int) -> list[str]:
    """Return the keys of all states below."""
    places = []
    for name, inner in content.items() if depth else ():
        if isinstance(name, str) and isinstance(inner, Mapping):
            places += [before + name] if _is_state(inner) else _places(inner, f"{before}{name}.", depth - 1)
    return places


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(inner, Tensor) for inner in value.values())


def _note(path: Path, key: str, content: Mapping[Any, Any]) -> str:
    others = ", ".join(str(other) for other in content if str(other) != key.partition(".")[0] and str(other) != key)
    return f"{path}: its entry {key!r} is read." + (f" The entries {others} are left aside." if others else "")
