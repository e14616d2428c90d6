"""What a pool's folder holds, read from its index and the headers of its files, and the check of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skfusion.checkpoints import format as formats
from skfusion.checkpoints.format import DATA_FILE, INDEX, Index
from skfusion.pool._about import ESTIMATOR, About

PARTS = "state", "estimator", "rows", "predictions"


@dataclass(frozen=True)
class Contents:
    """What a pool's folder holds; ``left_over`` are data files that the index does not refer to."""

    path: Path
    members: tuple[About, ...]
    classes: np.ndarray | None
    base: str | None
    left_over: tuple[str, ...]
    torn: bool

    @property
    def n_bytes(self) -> int:
        """The size of all files that the index refers to, of which members may share some."""
        names = {name for m in self.members for name in (m.files or {}).values()} | ({self.base} - {None})
        paths = [self.path / str(name) for name in names]
        return sum(path.stat().st_size for path in paths if path.is_file())

    def shape_of(self, member: About, part: str) -> tuple[int, ...] | None:
        """Return the shape of the rows or predictions of a member; None where it has none, or the file is damaged."""
        name = (member.files or {}).get(part)
        if name is None or not (self.path / name).is_file():
            return None
        try:
            (array,) = formats.described(self.path / name).values()
        except (ValueError, OSError):
            return None
        return array.shape

    def faults(self) -> Iterator[tuple[str, str | None]]:
        """Check the hash of each file that the index refers to.

        Yields
        ------
        file : str
            Its name.
        fault : str or None
            What is wrong with it, and whose it is; None where nothing is.
        """
        owners: dict[str, list[str]] = {} if self.base is None else {self.base: ["the base"]}
        for member in self.members:
            for part, name in (member.files or {}).items():
                owners.setdefault(name, []).append(f"the {part} of {member.name!r}")
        for name, of in owners.items():
            shown = ", ".join(of[:3]) + (f" and {len(of) - 3} more" if len(of) > 3 else "")
            fault = self._fault(self.path / name)
            yield name, None if fault is None else f"{fault}; it holds {shown}"

    @staticmethod
    def _fault(path: Path) -> str | None:
        try:
            return None if formats.digest_of(path) in path.name else "damaged: its content is not what was written"
        except FileNotFoundError:
            return "missing"
        except (ValueError, OSError) as error:
            return f"damaged: {error}"


def contents(path: Any) -> Contents:
    """Return what a pool's folder holds; no weights are read.

    Raises ``FileNotFoundError`` where there is no pool, and ``PoolFormatError`` where its index is damaged.
    """
    directory = Path(path)

    def read(index: Index) -> Contents:
        if not index.exists:
            raise FileNotFoundError(f"There is no pool in {directory}: save one there, or correct the path.")
        try:
            members = tuple(_in_folder(directory, entry) for entry in index.members.values())
        except RecursionError as error:  # of metadata that was nested on purpose
            raise formats.damaged(directory / INDEX, error) from error
        there = sorted(p.name for p in directory.iterdir() if DATA_FILE.fullmatch(p.name))
        left = tuple(name for name in there if index.uses[name] <= 0)
        classes = formats.classes_from_json(index.classes)
        return Contents(directory, members, classes, index.base, left, index.torn)

    found: Contents = formats.consistently(Index(directory), read)
    return found


def _in_folder(directory: Path, entry: Mapping[str, Any]) -> About:
    files = {part: entry[part] for part in PARTS if entry.get(part) is not None}
    there = [directory / name for name in files.values() if (directory / name).is_file()]
    tensors, state = None, files.get("state")
    if state is not None and directory / state in there:
        try:
            tensors = formats.described(directory / state)
        except (ValueError, OSError):  # of a damaged file, which the check of hashes names
            tensors = None
    return About(
        name=entry["name"],
        score=formats.score_from_json(entry["score"]),
        meta=formats.meta_from_json(entry["meta"]),
        kind=ESTIMATOR if state is None else "network",
        tensors=tensors,
        n_bytes=sum(path.stat().st_size for path in there),
        files=files,
    )
