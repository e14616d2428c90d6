"""Open checkpoints of any size: tensors are mapped from their files, and no code in a file is run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skfusion.checkpoints._archive import check_sums
from skfusion.checkpoints._torch_file import OLD_TORCH, TRUSTED, WRAPPERS, read_torch
from skfusion.checkpoints.format import read_safetensors
from skfusion.state import State

PathLike = str | os.PathLike[str]

_COMPILED = re.compile(r"(^|\.)_orig_mod\.")
_INDEX = ".index.json"
_PATTERNS = ("*.safetensors.index.json", "*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth", "*.ckpt")
_BESIDE = re.compile(r"(training_args|optimizer|scheduler|scaler|sampler|criterion|(rng|random)_states?(_\d+)?)\.\w+")
"""Files that training programs (those of transformers, accelerate and skorch) save beside the weights."""

_ADAPTERS = {
    "IA3": re.compile(r"(^|\.)ia3_l(\.|$)"),
    "DoRA": re.compile(r"(^|\.)(lora_magnitude_vector|dora_scale)(\.|$)"),
    "LoRA": re.compile(r"(^|[._])lora(_embedding)?[._]([AaBb]|up|down)(\.|$)"),
}
"""Adapters by what the names of their tensors contain, as peft, loralib, diffusers and torchtune write them."""
_CONFIG, _FILE = "adapter_config.json", "adapter_model."
_REASONS = {
    "LoRA": "A layer is changed by the product B A, and the average of all A times that of all B is not the average of "
    "the products",
    "DoRA": "A layer is changed by a product and its lengths, and averages of the factors are not the average of the "
    "layers",
    "IA3": "Its numbers are factors of the weights of another network, which it does not hold",
    None: "Its tensors change the layers of another network, which it does not hold",
}


@dataclass(frozen=True)
class Checkpoint:
    """One network on disk."""

    name: str  # what to call it in messages
    state: State  # tensors that are mapped from the files; tied ones are one tensor
    files: tuple[Path, ...]  # where it was read
    notes: tuple[str, ...] = ()  # what the user should know about the reading
    in_memory: int = 0  # bytes that could not be mapped

    def check_sums(self) -> None:
        """Raise ``ValueError`` where the bytes of a file are not those that were written."""
        for file in self.files:
            check_sums(file)


def read_checkpoint(path: PathLike, *, key: str | None = None) -> State:
    """Return the state in a checkpoint, mapped into memory.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file; a checkpoint of ``torch.save`` that holds a state, or a dictionary with one under
        ``state_dict``, ``model_state_dict`` or ``model``; an index of shards (``*.index.json``); or a folder with one
        of these.
    key : str, optional
        The entry of a file of ``torch.save`` that holds the state, such as ``"ema"``; ``"ema.module"`` is an entry in
        an entry.

    Returns
    -------
    State
        Tensors on the CPU. Names that a file of this library records as tied are one tensor. The prefix ``_orig_mod.``
        of compiled modules is taken off.

    Raises
    ------
    ValueError
        If the file is damaged, holds no state, is an adapter (LoRA, DoRA, IA3), or would run code.
    OSError
        If it cannot be read.

    Notes
    -----
    Files of ``torch.save`` are read once for the check sums of their entries, a second or less for a gigabyte. Those of
    safetensors have none: only a file that is cut off, or has a damaged header, is noticed.

    Examples
    --------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from skfusion.checkpoints import read_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "last.pt"
    ...     torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, path)
    ...     read_checkpoint(path)["w"].tolist()
    [1.0, 1.0]
    """
    checkpoint = open_checkpoint(path, key)
    checkpoint.check_sums()
    return checkpoint.state


def open_checkpoint(path: PathLike, key: str | None = None) -> Checkpoint:
    """Return the checkpoint at a path as :func:`read_checkpoint` does, but without the check of its sums."""
    path = Path(path)
    file = _file_in(path) if path.is_dir() else path
    opened = _open(file, key)
    _check_no_adapter(opened.state, path, file)
    state: State = {}
    for name, value in opened.state.items():
        plain = _COMPILED.sub(r"\1", name) if isinstance(name, str) else name
        _check_entry(name, value, path)
        if plain in state:
            raise ValueError(f"{path} holds both {plain!r} and {name!r}, which is its name in a compiled module.")
        state[plain] = value.detach()
    notes = opened.notes
    if state.keys() != opened.state.keys():
        notes += (f"{path}: the prefix _orig_mod. of a compiled module is taken off.",)
    if not state:
        raise ValueError(f"{path} holds no tensors. Give a checkpoint with a state dict.")
    return replace(opened, name=str(path), state=state, notes=notes)


def open_adapter(folder: Path) -> State:
    """Return the tensors of an adapter in a folder, which are no network by themselves."""
    file = _file_in(folder)
    state = _open(file, None).state
    for name, value in state.items():
        _check_entry(name, value, folder)
    check_sums(file)
    return {name: value.detach() for name, value in state.items()}


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


def _check_no_adapter(names: Iterable[str], path: Path, file: Path) -> None:
    """Raise ``ValueError`` where a checkpoint is an adapter or contains one; messages call it ``path``.

    A ``file`` that is called ``adapter_model`` beside an ``adapter_config.json`` is one under any names.
    """
    listed = [name for name in names if isinstance(name, str)]
    matches = ((kind, name) for kind, pattern in _ADAPTERS.items() for name in listed if pattern.search(name))
    kind, example = next(matches, (None, ""))
    config = file.parent / _CONFIG
    if kind is None and not (file.name.startswith(_FILE) and config.is_file()):
        return
    what = f"a {kind} adapter (tensor {example!r})" if kind else f"an adapter{_type_in(config)}, as {_CONFIG} says"
    raise ValueError(
        f"{path} holds {what}. {_REASONS[kind]}. Merge each adapter into its base first, with "
        "model.merge_and_unload() of peft, save the whole networks, and give those."
    )


def _type_in(config: Path) -> str:
    try:
        return f" of the type {json.loads(config.read_bytes())['peft_type']!r:.40}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _file_in(folder: Path) -> Path:
    """Return the one checkpoint in a folder: an index before its shards, safetensors before others."""
    for pattern in _PATTERNS:
        paths = [path for path in sorted(folder.glob(pattern)) if not _BESIDE.fullmatch(path.name)]
        if len(paths) == 1:
            return paths[0]
        if paths:
            names = ", ".join(p.name for p in paths[:5]) + (", ..." if len(paths) > 5 else "")
            raise ValueError(f"{folder} holds {len(paths)} checkpoints ({names}); give the path of one of them.")
    raise FileNotFoundError(f"There is no checkpoint (.safetensors, .bin, .pt, .pth, .ckpt) in {folder}.")


def _open(path: Path, key: str | None) -> Checkpoint:
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file. Give the path of a checkpoint.")
    if path.name.endswith(_INDEX):
        return _open_shards(path, key)
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:9] == b"{":
        return Checkpoint(str(path), read_safetensors(path), (path,))
    if start[:2] == b"PK" or (start[:1] == b"\x80" and OLD_TORCH.startswith(start[2:])):
        mapped = start[:2] == b"PK"
        state, notes = read_torch(path, mapped, key)
        return Checkpoint(str(path), state, (path,), tuple(notes), 0 if mapped else path.stat().st_size)
    if start[:1] == b"\x80":
        raise ValueError(
            f"{path} is refused: it is a plain pickle and no file of torch.save, and pickles can run code. Nothing of "
            f"it was run. {TRUSTED}"
        )
    what = "empty" if not start else "neither a safetensors file nor one of torch.save"
    raise ValueError(f"{path} is {what}. Give the path of a checkpoint.")


def _open_shards(path: Path, key: str | None) -> Checkpoint:
    try:
        places = json.loads(path.read_bytes())["weight_map"]
        shards = list(dict.fromkeys(places.values()))
        foreign = [shard for shard in shards if not _may_be_shard(shard)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no index of shards: it has no weight_map of names to files ({error!r})."
        ) from error
    if foreign:
        raise ValueError(
            f"{path} refers to {foreign[0]!r}; shards must lie in the folder of their index, and be no indices."
        )
    opened = {shard: _open(path.parent / shard, key) for shard in shards}
    for name, shard in places.items():
        if name not in opened[shard].state:
            raise ValueError(f"Tensor {name!r} is missing in {path.parent / shard}, where {path.name} places it.")
    state = {name: opened[shard].state[name] for name, shard in places.items()}
    for part in opened.values():
        state |= {name: value for name, value in part.state.items() if name not in state}
    return Checkpoint(
        str(path),
        state,
        tuple(file for part in opened.values() for file in part.files),
        tuple(note for part in opened.values() for note in part.notes),
        sum(part.in_memory for part in opened.values()),
    )


def _may_be_shard(name: str) -> bool:
    """Return whether a name is that of a file in a folder, and not of another index, which might refer to this one."""
    return name == Path(name).name and name not in ("", "..") and name.isprintable() and not name.endswith(_INDEX)
