"""Members from checkpoints that were trained elsewhere, with the rows that each was trained on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from skfusion.checkpoints import read_checkpoint
from skfusion.checkpoints.format import INDEX
from skfusion.pool._member import Member, rows_of
from skfusion.state import State, misfit


def from_files(
    paths: Any, module: Any, base: Any, rows: Any, classes: Any
) -> tuple[list[Member], State | None, np.ndarray | None]:
    """Return members, base and classes; see :meth:`ModelPool.from_files`."""
    if isinstance(module, type):
        raise TypeError(f"module is the class {module.__name__}: give an instance of it, or a skorch net that has it.")
    named = _named(paths)
    start: Any = base if base is None or isinstance(base, Mapping) else read_network(base)
    read = {name: Read(read_network(path), str(path)) for name, path in named.items()}
    return made_of(read, module, start, rows, classes)


@dataclass(frozen=True)
class Read:
    """What was read of a member: its state, where it was, and its score and what else is known, where they are."""

    state: State
    source: str
    score: float = math.nan
    meta: dict[str, Any] = field(default_factory=dict)


def made_of(
    read: Mapping[str, Read], module: Any, start: State | None, rows: Any, classes: Any
) -> tuple[list[Member], State | None, np.ndarray | None]:
    """Return members, base and classes, checked against a module, with marks of the rows that each was trained on."""
    pairs = _rows_by_name(rows, [*read])
    labels = _labels([y for _, y in pairs.values()]) if classes is None else np.asarray(classes)
    if isinstance(module, nn.Module):
        for owner, state in [*((f"member {name!r}", r.state) for name, r in read.items()), ("the base", start)]:
            if state is not None and (wrong := misfit(state, module)) is not None:
                raise ValueError(
                    f"Tensor {wrong[0]!r} is {wrong[1]} in {owner} and {wrong[2]} in module, a "
                    f"{type(module).__name__}. Give the architecture that it was trained with, or rename the tensors "
                    "of its file."
                )
    marks: dict[int, np.ndarray | None] = {}  # rows that several members share are hashed once
    for name, pair in pairs.items():
        try:
            marks[id(pair)] = marks[id(pair)] if id(pair) in marks else rows_of(*pair, labels)
        except (TypeError, ValueError) as error:
            raise ValueError(f"The rows of member {name!r} cannot be used: {error}") from error
    net = None if isinstance(module, nn.Module) else module
    members = [
        Member(name, r.state, r.score, {**r.meta, "source": r.source}, marks.get(id(pairs.get(name))), net)
        for name, r in read.items()
    ]
    return members, start, labels


def _named(paths: Any) -> dict[str, Path]:
    given = paths.values() if isinstance(paths, Mapping) else paths
    if isinstance(given, str | os.PathLike) or not isinstance(given, Iterable):
        is_path = isinstance(given, str | os.PathLike)
        what = f"one path: from_files([{os.fspath(given)!r}])" if is_path else f"a {type(given).__name__}"
        raise TypeError(f"Give checkpoints by name, or a list of them; got {what}.")
    listed = [*given]
    for path in listed:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"Give paths of checkpoints; got a {type(path).__name__}. A state in memory becomes a member by "
                "Member(name, state)."
            )
    names = [*paths] if isinstance(paths, Mapping) else [Path(path).stem for path in listed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"Several files are called {twice}, so their members need names: from_files({{name: path, ...}})."
        )
    return {name: Path(path) for name, path in zip(names, listed, strict=True)}


def read_network(path: Any) -> State:
    """Return the state in a checkpoint that is no pool."""
    if (Path(path) / INDEX).exists():
        raise ValueError(f"{path} is a pool, not a checkpoint: read it by ModelPool.load({str(path)!r}).")
    return read_checkpoint(path)


def _rows_by_name(rows: Any, names: list[str]) -> dict[str, tuple[Any, Any]]:
    if rows is None:
        return {}
    pairs = rows if isinstance(rows, Mapping) else dict.fromkeys(names, rows)
    if unknown := [name for name in pairs if name not in names]:
        raise ValueError(f"rows has {unknown}, which are no members: they are {names}.")
    for name, pair in pairs.items():
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise ValueError(f"The rows of member {name!r} must be a pair (X, y); got a {type(pair).__name__}.")
    return dict(pairs)


def _labels(targets: list[Any]) -> np.ndarray | None:
    """Return the labels of all targets; None where they are values, or several a row."""
    arrays = [np.asarray(y) for y in targets]
    if not arrays or any(y.dtype.kind == "f" or (y.ndim > 1 and y.shape[1] > 1) for y in arrays):
        return None
    return np.unique(np.concatenate([y.reshape(-1) for y in arrays]))
