"""Plan a merge of checkpoints: what will become of each tensor, and why checkpoints cannot be merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from skfusion._numbers import kind_of
from skfusion.checkpoints._checkpoint import Checkpoint
from skfusion.checkpoints._many import differing_prefixes, without_wrapper
from skfusion.checkpoints.format import aligned
from skfusion.merge import Merger, shared_names
from skfusion.state import State, is_statistic, n_parameters, owners

T = TypeVar("T")

CARD = "skfusion_card"
"""The key of the model card in the metadata of a file."""
SHOWN = 10
"""Names that a message lists before it counts the rest."""


class PlannedTensor(NamedTuple):
    """What becomes of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    n_bytes: int
    action: str


@dataclass(frozen=True)
class MergeReport:
    """What a merge of checkpoints does, or has done.

    Parameters
    ----------
    out : Path
        The file that is written.
    method : str
        The merger with its parameters.
    inputs : tuple of str
        The checkpoints in their order.
    base : str or None
        The common start, where it is used.
    plan : tuple of PlannedTensor
        For each tensor its name, shape, dtype, bytes, and what becomes of it.
    notes : tuple of str
        What the user should know, in sentences.
    read_bytes : int
        Size of all tensors that are read.
    n_bytes : int
        Size of the file.
    peak_bytes : int
        About how much memory it takes, beside the mapped files and what the merger keeps from its survey.
    card : dict
        The model card that the file holds; its hashes are zeros before the merge, and None where they are left out.
    """

    out: Path
    method: str
    inputs: tuple[str, ...]
    base: str | None
    plan: tuple[PlannedTensor, ...]
    notes: tuple[str, ...]
    read_bytes: int
    n_bytes: int
    peak_bytes: int
    card: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """The tensors of a merge, side by side."""

    sources: tuple[Checkpoint, ...]  # the members, and the base at the end where it is used
    n_members: int
    shared: tuple[State, ...]  # the tensors of the sources that are merged, all of the same names
    heads: State  # the tensors that are copied from the first source
    ties: dict[str, str]  # names that are written as another one
    result: State  # all tensors of the first source in their order: those of the result are like them
    notes: tuple[str, ...]  # what the user should know

    @property
    def names(self) -> list[str]:
        """Names of the sources."""
        return [c.name for c in self.sources]

    def split(self, values: Sequence[T]) -> tuple[list[T], T | None]:
        """Return those of the members among values of all sources, and that of the base where it is used."""
        n = self.n_members
        return list(values[:n]), values[n] if len(values) > n else None

    @property
    def written(self) -> State:
        """The tensors to write, as the first source has them, in the order of the data."""
        names = (name for name in self.result if name not in self.ties)
        return {name: self.result[name] for name in aligned(names, self.result)}


def job_of(
    merge: Merger, inputs: Sequence[Checkpoint], base: Checkpoint | None, heads: Sequence[str], keep_heads: bool
) -> Job:
    """Return what is to be done with checkpoints, or raise ``ValueError`` that says why they cannot be merged.

    ``heads`` are beginnings of the names of tensors that are not merged; with ``keep_heads``, tensors that are not the
    same in all sources are heads, too.
    """
    notes = [note for c in [*inputs, *([] if base is None else [base])] for note in c.notes]
    if len(inputs) == 1:
        notes.append(f"{inputs[0].name} is the only checkpoint: there is nothing to merge it with. Give several.")
    if base is not None and not merge.needs_base:
        notes.append(f"{base.name} is not read: {type(merge).__name__} does not use the base.")
    used = [*inputs, base] if base is not None and merge.needs_base else [*inputs]
    plain, unwrapped = without_wrapper(used)
    sources, tied = _with_ties(plain)
    states = [c.state for c in sources]
    shared = shared_names(states, heads=heads)
    kept = set(shared)
    different = [name for name in dict.fromkeys(n for s in states for n in s) if name not in kept]
    undeclared = [n for n in different if not any(n == head or n.startswith(f"{head}.") for head in heads)]
    if undeclared and not (keep_heads and shared):
        raise ValueError(_difference(undeclared, sources, len(shared)))
    copied = {name: states[0][name] for name in different if name in states[0]}
    if copied:
        notes.append(f"{_some(copied)}: not merged, taken from {sources[0].name} as they are.")
    if left := [name for name in different if name not in copied]:
        notes.append(f"{_some(left)}: left out, as {sources[0].name} does not have them.")
    bodies = tuple({name: s[name] for name in shared} for s in states)
    merged, held = n_parameters(bodies[0]), n_parameters(states[0])
    if 2 * merged < held:
        notes.append(
            f"Only {len(shared)} of {len(states[0])} tensors are merged, {merged / held:.0%} of the numbers; the rest "
            f"is that of {sources[0].name} as it was."
        )
    _check_kinds(bodies, sources)
    owner = owners(bodies) | owners([copied])
    return Job(
        tuple(sources),
        len(inputs),
        bodies,
        copied,
        {name: first for name, first in owner.items() if name != first},
        states[0],
        (*notes, *unwrapped, *tied, *_remarks(bodies, sources)),
    )


def _with_ties(sources: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[str]]:
    """Add names that a source lacks because it stores tied tensors once, according to the other sources."""
    owner = [owners([c.state]) for c in sources]
    completed, notes = [], []
    for c in sources:
        state = dict(c.state)
        for name in dict.fromkeys(n for other in sources for n in other.state if n not in c.state):
            holders = [ties for ties in owner if name in ties]
            twins = [n for n in c.state if all(ties.get(n) == ties[name] for ties in holders)]
            if twins:
                state[name] = state[twins[0]]
                notes.append(f"{c.name} lacks {name!r}, which is tied to {twins[0]!r} in the others, and so here.")
        completed.append(replace(c, state=state))
    return completed, notes


def _difference(names: Sequence[str], sources: Sequence[Checkpoint], n_shared: int) -> str:
    def described(name: str) -> str:
        holders: dict[str, list[str]] = {}
        for c in sources:
            what = str(tuple(c.state[name].shape)) if name in c.state else "missing"
            holders.setdefault(what, []).append(c.name)
        return f"{name!r} ({', '.join(f'{what} in {_few(names)}' for what, names in holders.items())})"

    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    if n_shared >= len(names):
        advice = (
            f"If they are heads of different tasks, keep_heads=True (--keep-heads) takes those of {sources[0].name}, "
            "and merges the rest."
        )
    else:
        shared = (
            f"Only {n_shared} tensors are" if n_shared > 1 else "Only one tensor is" if n_shared else "No tensor is"
        )
        resized = all(
            name in c.state and c.state[name].ndim == sources[0].state[name].ndim for c in sources for name in names
        )
        other = (
            "these are different architectures, or one of different widths, which takes its module: see skfusion.merge."
            "Barycenter and ZipIt."
            if resized
            else "these are different architectures."
        )
        advice = f"{shared} shared by all: {differing_prefixes(sources) or other}"
    listed = "; ".join(described(name) for name in names[:SHOWN])
    what = f"{len(names)} tensors are" if len(names) > 1 else "One tensor is"
    return f"{what} not the same in all checkpoints, and cannot be merged: {listed}{more}. {advice}"


def _few(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _check_kinds(bodies: Sequence[State], sources: Sequence[Checkpoint]) -> None:
    for name, first in bodies[0].items():
        for state, c in zip(bodies, sources, strict=True):
            if kind_of(state[name]) != kind_of(first):
                raise ValueError(
                    f"Tensor {name!r} is {first.dtype} in {sources[0].name} and {state[name].dtype} in {c.name}; only "
                    "the precision of floating-point tensors may differ. Convert it, or name it as a head: "
                    "heads=[...] (--head)."
                )


def _remarks(bodies: Sequence[State], sources: Sequence[Checkpoint]) -> list[str]:
    """Return what is to be known of dtypes and of BatchNorm."""
    notes = []
    mixed: dict[tuple[torch.dtype, ...], list[str]] = {}
    for name in bodies[0]:
        dtypes = tuple(state[name].dtype for state in bodies)
        if len(set(dtypes)) > 1:
            mixed.setdefault(dtypes, []).append(name)
    for dtypes, names in mixed.items():
        listed = ", ".join(f"{str(d).removeprefix('torch.')} in {c.name}" for d, c in zip(dtypes, sources, strict=True))
        notes.append(f"{_some(names)}: {listed}. The result has the dtype of the first.")
    if tiny := [name for name, t in bodies[0].items() if t.is_floating_point() and t.element_size() == 1]:
        notes.append(
            f"{_some(tiny)}: eight-bit numbers are merged as they are; where they have scales, merge at full size."
        )
    if statistics := [name for name in bodies[0] if is_statistic(name)]:
        what = "statistics of BatchNorm are" if len(statistics) > 1 else "statistic of BatchNorm is"
        notes.append(
            f"{len(statistics)} {what} merged as numbers, which is not what the merged network "
            "needs: estimate such statistics again on data, with skfusion.repair.Recalibrate."
        )
    return notes


def _some(names: Sequence[str] | Mapping[str, Any]) -> str:
    listed = list(names)
    shown = ", ".join(map(repr, listed[:SHOWN]))
    return shown + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
