"""The members of runs in the folder of a pool, each run known by all that it depends on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from skfusion import nets
from skfusion._rows import Rows
from skfusion.checkpoints.format import RUNS, replacing
from skfusion.collect._by_path import Carrier
from skfusion.nets import DivergedError, NoKey, Run
from skfusion.pool import DirectoryStore, Member
from skfusion.state import State

_STORED = re.compile(r"(?P<name>.*)@(?P<key>[0-9a-f]{20})(?:-(?P<i>\d+)of(?P<n>\d+))?", re.DOTALL)
"""What a member is called in the folder: by its own name, the key of its run, and its place among those of the run."""


class RunFolder:
    """Keeps the members of runs in the folder of a pool, and why runs have diverged in a folder within it.

    A run is there where all of its members are: each is called after the key of the run, and says how many there are.
    """

    def __init__(self, path: Path, store: DirectoryStore | None = None):
        self.path = path
        self.store = DirectoryStore(path) if store is None else store
        self.carrier: Carrier | None = None  # of the call in this process; not pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.store)

    def complete(self) -> dict[str, list[str]]:
        """Return the names of members in the folder, in order, by the keys of the runs whose members are all there."""
        found: dict[str, dict[int, str]] = {}
        sizes: dict[str, int] = {}
        for stored in self.store.names():
            if match := _STORED.fullmatch(stored):
                found.setdefault(match["key"], {})[int(match["i"] or 1)] = stored
                sizes[match["key"]] = int(match["n"] or 1)
        return {key: [at[i] for i in sorted(at)] for key, at in found.items() if len(at) == sizes[key]}

    def travelling(self, state: State | None) -> State | None:
        """Return a state as it goes to other processes."""
        return state if self.carrier is None else self.carrier.state(state)

    def put(self, key: str, run: Run, members: Sequence[Member], failure: DivergedError | None) -> list[str]:
        """Keep what has become of a run; return the names of its members in the folder."""
        if failure is not None:
            self._put_failure(key, run.name, failure)
        if any(member.net is not None for member in members) and run.recorder().net is None:
            raise TypeError(
                f"Members of {run.name!r} run in a net of their own, which no folder keeps: let its recorder have that "
                "as its attribute net."
            )
        names = []
        self.store.names()  # what others have added is read here, and not while the folder is locked
        for i, member in enumerate(members, 1):
            place = f"-{i}of{len(members)}" if len(members) > 1 else ""
            names.append(f"{member.name}@{key}{place}")
            self.store.put(member.replace(name=names[-1], net=None))
        return names

    def read(self, stored: Sequence[str], run: Run) -> list[Member]:
        """Return members by their names in the folder, under their own."""
        net = run.recorder().net
        return [self.store.get(name).replace(name=name[: name.rindex("@")], net=net) for name in stored]

    def failure(self, key: str) -> DivergedError | None:
        """Return why a run has diverged; None where it has not, or has not been trained."""
        try:
            known = json.loads(self._failed(key).read_text("utf-8"))
            return DivergedError(str(known["message"]), int(known["epoch"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError):  # damaged: it is trained again
            return None

    def _put_failure(self, key: str, name: str, failure: DivergedError) -> None:
        path = self._failed(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"run": name, "message": str(failure), "epoch": failure.epoch})
        with replacing(path) as file:
            file.write(text.encode())

    def _failed(self, key: str) -> Path:
        return self.path / RUNS / f"diverged-{key}.json"


def keys_of(net: Any, rows: Rows, runs: Sequence[Run]) -> dict[str, str]:
    """Return by their names what runs are known by: a hash of their settings, the net, the data, and the library.

    Raises NoKey where something that they depend on is hidden, so that they could be confused with others.
    """
    try:
        known = {id(net): "net", id(rows): "rows"}
        data = nets.fingerprint(net, rows)
        for large in (part for run in runs for part in (run.state, run.net) if part is not None):
            if id(large) not in known:
                known[id(large)] = nets.digest(large, known=known)
        parts = [[getattr(run, field.name) for field in fields(run)] for run in runs]
        return {run.name: nets.digest(data, of, known=known)[:20] for run, of in zip(runs, parts, strict=True)}
    except NoKey as error:
        raise NoKey(
            "The members cannot be kept, as it is not certain what they depend on, and others could be taken for them: "
            f"{error}. Give the net what can be pickled, such as functions of a module, or collect without Kept."
        ) from error
