"""Members from the files and folders of other libraries: Lightning, skorch, Hugging Face and PEFT."""

from __future__ import annotations

import glob
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from skfusion.checkpoints import ADAPTER_CONFIG, merged_adapter
from skfusion.pool._member import Member
from skfusion.pool.importers._from_files import Read, made_of, read_network
from skfusion.state import State

HISTORY = "history.json"


def from_checkpoints(
    paths: Any, module: Any, base: Any, rows: Any, classes: Any
) -> tuple[list[Member], State | None, np.ndarray | None]:
    """Return members, base and classes; see :meth:`ModelPool.from_checkpoints`."""
    if isinstance(module, type):
        raise TypeError(f"module is the class {module.__name__}: give an instance of it, or a skorch net that has it.")
    given = module if isinstance(module, nn.Module) else getattr(module, "module_", getattr(module, "module", None))
    instance = given if isinstance(given, nn.Module) else None
    start: Any = base if base is None or isinstance(base, Mapping) else read_network(base)
    start = None if start is None else fitted_names(start, instance, "the base")
    under: State | None = start
    if under is None and instance is not None:
        under = {name: tensor.detach().clone() for name, tensor in instance.state_dict().items()}
    named = _named(_found(paths))
    read = {name: _read(path, under, instance) for name, path in named.items()}
    return made_of(read, module, start, rows, classes)


def _found(paths: Any) -> list[Path]:
    """Return the paths of a pattern, in their order, or those that are given."""
    if isinstance(paths, str | os.PathLike):
        pattern = os.fspath(paths)
        if found := sorted(glob.glob(os.path.expanduser(pattern), recursive=True)):
            return [Path(path) for path in found]
        raise FileNotFoundError(f"No file and no folder matches {pattern!r}. Give another pattern, or a list of paths.")
    if isinstance(paths, Mapping) or not isinstance(paths, Iterable):
        raise TypeError(
            f"Give a pattern such as 'runs/*.pt', or a list of paths; got a {type(paths).__name__}. Files by name "
            "become a pool by ModelPool.from_files(paths)."
        )
    found_all = [Path(path) for path in paths]
    if not found_all:
        raise ValueError("The list of checkpoints is empty. Give at least one path.")
    return found_all


def _named(paths: list[Path]) -> dict[str, Path]:
    """Return the paths by the names of their files or folders, with the folders above where several are called so."""
    names = [path.stem if path.suffix and not path.is_dir() else path.name for path in paths]
    if len({*names}) < len(names):
        top = Path(os.path.commonpath([path.absolute().parent for path in paths]))
        names = [path.absolute().relative_to(top).as_posix() for path in paths]
    return dict(zip(names, paths, strict=True))


def _read(path: Path, under: State | None, module: nn.Module | None) -> Read:
    """Return what a file or folder holds of a network."""
    if (path / ADAPTER_CONFIG).is_file():
        if under is None:
            raise ValueError(
                f"{path} is an adapter of PEFT, which changes another network: give that as base=, its checkpoint or "
                "state, or as module=."
            )
        return Read(merged_adapter(path, under), str(path), meta={"adapter": path.name})
    state = fitted_names(read_network(path), module, str(path))
    if (path / HISTORY).is_file():
        score, meta = _of_history(path / HISTORY)
        return Read(state, str(path), score, meta)
    return Read(state, str(path))


def fitted_names(state: State, module: nn.Module | None, owner: str) -> State:
    """Return a state with the names of a module, where each of these has the same prefix in the file.

    Such as ``model.`` in the files of Lightning, whose tensors of losses and metrics stand beside. A state in which no
    prefix gives all names is returned as it is, and the check against the module says what is missing.
    """
    if module is None or not (names := [*module.state_dict()]):
        return state
    ends = [name.removesuffix(names[0]) for name in state if name.endswith(names[0])]
    prefixes = [p for p in ends if p.endswith(".") and all(p + name in state for name in names)]
    if all(name in state for name in names) or not prefixes:
        return state
    if len(prefixes) > 1:
        raise ValueError(
            f"The names of the module are in {owner} with several prefixes, {prefixes}, as where averages are saved "
            "beside weights. Read one of them by read_checkpoint, and make a member of it: Member(name, state)."
        )
    return {name: state[prefixes[0] + name] for name in names}


def _of_history(path: Path) -> tuple[float, dict[str, Any]]:
    """Return the score of the epoch that a Checkpoint of skorch has saved, and what is known of it."""
    try:
        rows = json.loads(path.read_bytes())
        events = [k for k, row in enumerate(rows) if any(v is True for n, v in row.items() if n.startswith("event_"))]
        at = events[-1] if events else len(rows) - 1
        row = rows[at]
        about = {"epoch": int(row.get("epoch", at + 1))}
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path} is no history of skorch: {error!r}. Remove it to read the weights alone.") from error
    for name, sign in (("valid_acc", 1), ("valid_loss", -1)):
        if isinstance(value := row.get(name), int | float) and not isinstance(value, bool):
            return sign * float(value), {**about, "score_is": name if sign > 0 else f"-{name}"}
    return math.nan, about
