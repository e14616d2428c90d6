"""Open several checkpoints, of which each may be the directory of a pool, as they are given to a merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skfusion.checkpoints._checkpoint import Checkpoint, PathLike, open_checkpoint
from skfusion.checkpoints._prefixes import without_prefixes
from skfusion.checkpoints.format import INDEX, Index


def read_many(
    paths: Sequence[PathLike],
    base: PathLike | None = None,
    key: str | None = None,
    strip_prefix: str | Sequence[str] = (),
) -> tuple[list[Checkpoint], Checkpoint | None]:
    """Return the checkpoints of paths and the base, as :func:`open_many` does, with their check sums compared."""
    members, start = open_many(paths, base, key, strip_prefix)
    for checkpoint in (*members, *([] if start is None else [start])):
        checkpoint.check_sums()
    return members, start


def open_many(
    paths: Sequence[PathLike], base: PathLike | None, key: str | None, strip_prefix: str | Sequence[str]
) -> tuple[list[Checkpoint], Checkpoint | None]:
    """Return the checkpoints of paths, and the base, without prefixes of names.

    The directory of a pool stands for its members, and its base for the one that is not given.
    """
    members: list[Checkpoint] = []
    start = None if base is None else open_checkpoint(base, key)
    for path in map(Path, paths):
        if not (path / INDEX).is_file():
            members.append(open_checkpoint(path, key))
            continue
        index = Index(path).refresh()
        members += [_opened(path, entry["state"], name) for name, entry in index.members.items()]
        if start is None and index.base is not None:
            start = _opened(path, index.base, "base")
    return without_prefixes(members, start, strip_prefix)


def _opened(pool: Path, file: str, name: str) -> Checkpoint:
    return replace(open_checkpoint(pool / file), name=f"{pool}[{name}]")
