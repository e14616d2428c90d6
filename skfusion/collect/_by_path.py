"""Large arrays that travel to other processes as paths: files that all of them map into memory."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from skfusion._rows import Rows
from skfusion.checkpoints.format import RUNS, read_safetensors, replacing, state_to_bytes
from skfusion.state import State, n_bytes

SMALL = 2**14
"""Bytes up to which an array travels within a task."""
_HASHES = "keys", "input_keys", "marks"
"""What rows have computed of themselves, which need not be computed again in each process."""


class RowsByPath(Rows):
    """Rows that are pickled as the paths of their arrays, which the first pickle writes; others after :meth:`stay`."""

    @classmethod
    def of(cls, rows: Rows, carrier: Carrier) -> Self:
        """Return rows whose arrays go into the folder of a carrier."""
        twin = cls(**{field.name: getattr(rows, field.name) for field in fields(rows)})
        known = {name: vars(rows)[name] for name in _HASHES if name in vars(rows)}
        vars(twin).update(known, _carrier=carrier)
        return twin

    def stay(self) -> None:
        """Forget the files, which are about to be removed: from now on a pickle has the arrays."""
        vars(self).pop("_carrier", None)

    def __reduce__(self) -> Any:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        carrier: Carrier | None = vars(self).get("_carrier")
        if carrier is None:  # also of rows that were taken of these
            return _rebuilt, (values,)
        self.marks  # noqa: B018  which are computed once, and not in each process
        known = {name: vars(self)[name] for name in _HASHES if name in vars(self)}
        return _rebuilt, (carrier.arrays({**values, **known}),)


class StateByPath(dict[str, Any]):
    """A state that is pickled as the path of its file."""

    def __init__(self, state: State, path: Path):
        super().__init__(state)
        self.path = path
        with replacing(path) as file:
            file.write(state_to_bytes(state, "the start of the runs"))

    def __reduce__(self) -> Any:
        return _read_state, (self.path,)


class Carrier:
    """A folder for what the tasks of one call need, which is removed after it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.states: dict[int, State] = {}
        self.written: dict[str, Any] | None = None
        self.lock = threading.Lock()  # backends pickle tasks in threads of their own

    def arrays(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values of the rows by name, with paths in the place of large arrays; they are written once."""
        with self.lock:
            if self.written is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.written = {name: _written(value, self.folder, name) for name, value in values.items()}
            return self.written

    def state(self, state: State | None) -> State | None:
        """Return a state that travels as a path; the same object for the same one."""
        if state is None or n_bytes(state) <= SMALL:
            return state
        if id(state) not in self.states:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.states[id(state)] = StateByPath(state, self.folder / f"state-{len(self.states)}.safetensors")
        return self.states[id(state)]


@contextmanager
def carried(rows: Rows, pool: Path) -> Iterator[tuple[Rows, Carrier]]:
    """Yield rows that travel as paths, and what does so with states, while a folder within the store has them.

    Folders that were left by processes of this machine that are no more are removed.
    """
    _remove_left(pool / RUNS)
    carrier = Carrier(pool / RUNS / f"data-{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}")
    by_path = RowsByPath.of(rows, carrier)
    try:
        yield by_path, carrier
    finally:
        by_path.stay()
        shutil.rmtree(carrier.folder, ignore_errors=True)


def _remove_left(beside: Path) -> None:
    for folder in beside.glob(f"data-{socket.gethostname()}-*-*"):
        pid = folder.name.split("-")[-2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    with suppress(OSError, OverflowError):
        os.kill(pid, 0)
        return True
    return Path(f"/proc/{pid}").exists()  # of another user


class _Array:
    """The path of an array."""

    def __init__(self, path: Path):
        self.path = path


def _written(value: Any, folder: Path, name: str) -> Any:
    """Return a value with the paths of its large arrays in their places."""
    if isinstance(value, dict):
        return {key: _written(part, folder, f"{name}-{i}") for i, (key, part) in enumerate(value.items())}
    if not isinstance(value, np.ndarray) or value.dtype.hasobject or value.nbytes <= SMALL:
        return value
    path = folder / f"{name}.npy"
    np.save(path, value, allow_pickle=False)
    return _Array(path)


def _mapped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(part) for key, part in value.items()}
    if not isinstance(value, _Array):
        return value
    with _seen_here(value.path):
        return np.asarray(np.load(value.path, mmap_mode="r", allow_pickle=False))


def _rebuilt(parts: dict[str, Any]) -> Rows:
    names = {field.name for field in fields(Rows)}
    values = {name: _mapped(value) for name, value in parts.items()}
    rows = Rows(**{name: value for name, value in values.items() if name in names})
    vars(rows).update(values)
    return rows


def _read_state(path: Path) -> State:
    with _seen_here(path):
        return read_safetensors(path)


@contextmanager
def _seen_here(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The worker on {socket.gethostname()} does not see {path}. The store of Kept must be on a file system "
            "that all workers share, under the same path."
        ) from error
