"""Make one folder of members of several, as where each process or machine has written into its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skfusion._caller import warn_caller
from skfusion.pool._member import Member
from skfusion.pool._pool import ModelPool
from skfusion.pool.stores import DirectoryStore
from skfusion.pool.stores._reader import File
from skfusion.state import State


def merge_folders(folders: Iterable[Any], path: Any, *, prefix: bool = False) -> list[str]:
    """Write the members of several folders into one.

    A member that is there already, or in several folders, with the same weights and the same that is known of it, is
    written once, so that a merge that was cut off can be called again. The folders that are read are left as they are.

    Parameters
    ----------
    folders : iterable of path-like
        Folders written by :meth:`ModelPool.save` or :class:`~skfusion.pool.DirectoryStore`, in the order in which
        their members shall stand.
    path : path-like
        Where to write: a new folder, which gets all members at once, or that of a pool, to which they are added.
    prefix : bool, default=False
        What becomes of another member of a name that is taken: with True it is called after its folder, as
        ``"worker-7/seed-0"``; with False nothing is written, and a ValueError names both folders.

    Returns
    -------
    list of str
        Names of the members that were written, without those that were there already.

    Raises
    ------
    ValueError
        If there are no folders, or names are taken, or the folders have different classes.
    FileNotFoundError
        If there is no pool in a folder.
    PoolFormatError
        If a folder is damaged.

    Notes
    -----
    Classes of a folder that has none are taken to be those of the others. Where folders have different common starts,
    the new one has none, and a warning says so.

    Examples
    --------
    >>> import tempfile, torch
    >>> from skfusion import ModelPool
    >>> from skfusion.pool import DirectoryStore, Member, merge_folders
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for worker in ("a", "b"):
    ...         DirectoryStore(f"{root}/{worker}").put(Member(f"seed-{worker}", {"w": torch.ones(2)}))
    ...     merge_folders([f"{root}/a", f"{root}/b"], f"{root}/all")
    ['seed-a', 'seed-b']
    """
    sources = [Path(folder).resolve() for folder in folders]
    if not sources:
        raise ValueError("There is nothing to merge: give at least one folder of members.")
    target = Path(path).resolve()
    known = bool(DirectoryStore(target).names())
    places = [target, *(source for source in sources if source != target)] if known else sources
    pools = {place: ModelPool.load(place) for place in places}
    classes, base = _classes_of(pools), _base_of(pools)
    members: dict[str, Member] = {}
    owners: dict[str, Path] = {}
    for place, pool in pools.items():
        for member in pool:
            name = _free_name(member, place, members, owners, prefix)
            if name is not None:
                members[name], owners[name] = member.replace(name=name), place
    if not known:
        ModelPool(members.values(), base, classes).save(target)
        return [*members]
    new = [name for name, owner in owners.items() if owner != target]
    if new:
        _check_kept(target, pools[target], base, classes)
    store = DirectoryStore(target)
    for name in new:
        store.put(members[name])
    return new


def _free_name(
    member: Member, place: Path, members: dict[str, Member], owners: dict[str, Path], prefix: bool
) -> str | None:
    """Return the name of a member of a folder; None where it is there already."""
    for name in (member.name, f"{place.name}/{member.name}"):
        if name not in members:
            return name
        if _alike(members[name], member):
            return None
        if not prefix:
            raise ValueError(
                f"{owners[name]} and {place} have different members called {name!r}. Give prefix=True, and the second "
                "is called after its folder."
            )
    raise ValueError(
        f"The names {member.name!r} and {name!r} of a member of {place} are both taken by other members: merge folders "
        "of different names."
    )


def _alike(one: Member, other: Member) -> bool:
    """Return whether two members are the same but for their names."""
    if one.is_network != other.is_network or _known_of(one) != _known_of(other):
        return False
    for a, b in ((one.rows, other.rows), (one.predictions, other.predictions)):
        if (a is None) != (b is None) or (a is not None and b is not None and not np.array_equal(a, b, equal_nan=True)):
            return False
    if not one.is_network:
        return _file_of(one) == _file_of(other)
    return _same_state(one.state, other.state)


def _file_of(member: Member) -> bytes:
    """Return the file of an estimator without what is known of it; nothing is built, so no types need be trusted."""
    unread = member.deferred("estimator")
    assert unread is not None  # of a folder
    assert isinstance(unread.read, File)
    return unread.read.copied({})


def _known_of(member: Member) -> str:
    return json.dumps([float(member.score), dict(member.meta)], sort_keys=True)


def _same_state(one: State, other: State) -> bool:
    if [*one] != [*other]:
        return False
    pairs = [(tensor, other[name]) for name, tensor in one.items()]
    return all(a.dtype == b.dtype and a.shape == b.shape and _same_bits(a, b) for a, b in pairs)


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) or torch.equal(*(t.contiguous().flatten().view(torch.uint8) for t in (a, b)))


def _classes_of(pools: dict[Path, ModelPool]) -> np.ndarray | None:
    """Return the classes that all folders have, but for those that have none."""
    given = [(place, pool.classes) for place, pool in pools.items() if pool.classes is not None]
    for place, classes in given[1:]:
        if not np.array_equal(classes, given[0][1]):
            raise ValueError(
                f"{given[0][0]} has members of the classes {given[0][1].tolist()}, and {place} of {classes.tolist()}: "
                "outputs of different meaning do not stand in one pool. Merge folders of equal classes."
            )
    return given[0][1] if given else None


def _base_of(pools: dict[Path, ModelPool]) -> State | None:
    """Return the common start of all members, where there is one; warn where some of the folders had one."""
    bases = [pool.base for pool in pools.values()]
    first = bases[0]
    if all(b is None for b in bases):
        return None
    if first is not None and all(b is not None and _same_state(first, b) for b in bases):
        return first
    places = ", ".join(map(str, pools))
    warn_caller(f"The members of {places} have no common start, so that the pool of all has none (base=None).")
    return None


def _check_kept(target: Path, pool: ModelPool, base: State | None, classes: np.ndarray | None) -> None:
    """Raise where the folder that members are added to would have to say something else of those that it has."""
    lost = "common start" if (pool.base is None) != (base is None) else ""
    lost = "classes" if pool.classes is None and classes is not None else lost
    if lost:
        raise ValueError(
            f"{target} has other {lost} than the pool of all would have, and its members stay as they are. Merge into "
            "a new folder, and give this one among the folders."
        )
