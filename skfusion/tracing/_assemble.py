"""Make a symmetry of the labels that the weights have after a trace: which positions of a tensor each atom moves.

Labels can say more than a :class:`~skfusion.symmetry.Block` can: an axis may hold an atom twice, or depend on an index
that this tensor does not have. Such atoms are restricted or pinned, for all tensors, until every weight has blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from skfusion.symmetry import Axes, Block, Group, Site, Symmetry
from skfusion.tracing._trace import Trace, Weight
from skfusion.tracing.algebra import Atom, Axis, Engine, Ints, Label, atom_of, atoms_in, index_of, row_labels

NO_REASON = "its units are distinguished by their position"
UNUSED_PART = "this part is not used in the run on the example"


@dataclass(eq=False)
class RawBlock:
    """A block in terms of atoms."""

    atoms: tuple[int, ...]
    positions: Ints
    within: dict[int, Ints] = field(default_factory=dict)


RawAxes = list[list[RawBlock]]


@dataclass(eq=False)
class Reading:
    """The blocks of each axis of a tensor, and the atoms whose moves blocks cannot express there."""

    axes: RawAxes = field(default_factory=list)
    loose: dict[int, set[int]] = field(default_factory=dict)
    """By atom, the contexts that it may keep: the others are not on this tensor."""
    stuck: dict[int, str] = field(default_factory=dict)
    """By atom, why it must be pinned."""


_Leaf = tuple[Axis, dict[int, Ints]]
"""An axis at certain positions of other axes, where each family over a pinned atom has one instance."""


def assemble(trace: Trace) -> Symmetry:
    """Return the symmetry of a traced module, which is not verified yet."""
    engine = trace.engine
    readings = settle(engine, [weight.label for weight in trace.weights])
    names = _names([(w.names[0], r.axes) for w, r in zip(trace.weights, readings, strict=True)])
    axes: dict[str, Axes] = {}
    pinned: dict[tuple[str, int], str] = {}
    for weight, reading in zip(trace.weights, readings, strict=True):
        parts = _axes(reading.axes, names)
        why = _reasons(engine, weight, parts)
        for name in weight.names:
            axes[name] = parts
            pinned.update({(name, axis): reason for axis, reason in why.items()})
    return Symmetry(
        [_group(engine, atom, names) for atom in names],
        axes,
        {name: tuple(w.tensors[0].shape) for w in trace.weights for name in w.names},
        [name for w in trace.weights if not w.is_parameter for name in w.names],
        pinned,
        _sites(trace, names),
        trace.notes,
        {name: roles for w, roles in zip(trace.weights, trace.roles, strict=True) for name in w.names},
    )


def _names(axes: list[tuple[str, RawAxes]]) -> dict[int, str]:
    """Name each atom after the first axis on which it moves; several on one axis are numbered."""
    names: dict[int, str] = {}
    taken: Counter[str] = Counter()
    for tensor, parts in axes:
        for d, blocks in enumerate(parts):
            for atom in (a for block in blocks for a in block.atoms if a not in names):
                name = f"{tensor}:{d}"
                taken[name] += 1
                names[atom] = f"{name}#{taken[name]}" if taken[name] > 1 else name
                names.setdefault(atom, name)
    return names


def _group(engine: Engine, atom: int, names: Mapping[int, str]) -> Group:
    context = sorted(engine.context_of(engine.atoms[atom]) or ())
    return Group(names[atom], engine.atoms[atom].size, tuple(names[c] for c in context))


def _axes(parts: RawAxes, names: Mapping[int, str]) -> Axes:
    return tuple(
        tuple(Block(tuple(names[a] for a in b.atoms), b.positions, b.within) for b in blocks) for blocks in parts
    )


def _reasons(engine: Engine, weight: Weight, parts: Axes) -> dict[int, str]:
    """Return why axes of a weight have no block."""
    constant = not weight.is_parameter and not weight.is_statistic
    return {
        d: "a buffer that is no running statistic" if constant else _why(engine, weight.atoms[d])
        for d, n in enumerate(weight.tensors[0].shape)
        if n > 1 and not parts[d]
    }


def _why(engine: Engine, first: int | None) -> str:
    """Return why an atom, or the first pinned one of those that it turned out to be, does not move."""
    open_ = [] if first is None else [first]
    while open_:
        atom = engine.atoms[open_.pop(0)]
        if atom.why:
            return atom.why
        meanings = [m for instances in atom.instances.values() for m in instances.values()]
        for paths, _ in [atom.meaning] if atom.meaning else meanings:
            open_ += atoms_in(paths)
    return NO_REASON


def _sites(trace: Trace, names: Mapping[int, str]) -> list[Site]:
    """Return the activations with groups; blocks that a site alone cannot express are left out."""
    sites = []
    for site, label in trace.sites:
        reading = read(trace.engine, label)
        unclear = reading.loose.keys() | reading.stuck.keys()
        known = [
            [b for b in blocks if unclear.isdisjoint(b.atoms) and names.keys() >= {*b.atoms}] for blocks in reading.axes
        ]
        if any(known):
            sites.append(replace(site, axes=_axes(known, names)))
    return sites


# -------------------------------------------------------------------------------------------------- reading of blocks


def read(engine: Engine, label: Sequence[Axis]) -> Reading:
    """Return the blocks of a tensor; a family over a pinned atom gives one group for each index."""
    axes = [engine.resolve(axis.copy()) for axis in label]
    _instantiate(engine, axes)
    axes = [engine.resolve(axis) for axis in axes]
    leaves = [[*_leaves(engine, axes, d, axes[d], {})] for d in range(len(axes))]
    out = Reading()
    homes: dict[int, set[int]] = {}
    for d, parts in enumerate(leaves):
        for axis, within in parts:
            for atom in axis.atoms:
                homes.setdefault(atom, set()).add(d if not within else -1)
    out.axes = [[b for leaf in parts for b in _blocks_of(engine, *leaf, out)] for parts in leaves]
    _check_contexts(engine, out, homes)
    return out


def settle(engine: Engine, labels: Sequence[Label]) -> list[Reading]:
    """Return the blocks of all weights; what one of them cannot express is restricted or pinned for all."""
    while True:  # until nothing changes, as a pin for one weight may change another
        before = engine.changes
        for label in labels:
            engine.settle(label)
            engine.normal(label)
        readings = [read(engine, label) for label in labels]
        for reading in readings:
            for atom, allowed in reading.loose.items():
                engine.restrict(atom, allowed)
            for atom, why in reading.stuck.items():
                engine.pin(atom, why)
        if engine.changes == before:
            return readings


def _instantiate(engine: Engine, axes: Sequence[Axis]) -> None:
    """Give every family over a pinned atom an instance for each index; those that no operation saw are pinned."""
    open_ = [a for axis in axes for a in axis.atoms]
    while open_:
        atom = engine.atoms[open_.pop()]
        over = _ranges_over(engine, atom)
        if over is None:
            continue
        known = set(atom.instances.get(over, ()))
        for index in range(engine.atoms[over].size):
            paths, _ = engine.instance(atom, over, index)
            parts = {int(a) for a in np.unique(atom_of(paths)) if a >= 0}
            if known and index not in known:
                engine.pin_all(parts, UNUSED_PART)
            open_ += [p for p in parts if p != atom.id]


def _ranges_over(engine: Engine, atom: Atom) -> int | None:
    """Return the pinned atom that a family ranges over; of several the one that it has instances of already."""
    if atom.pinned or atom.meaning is not None:
        return None
    pinned = sorted(c for c in engine.context_of(atom) or () if engine.atoms[c].pinned)
    return next((c for c in pinned if c in atom.instances), pinned[0] if pinned else None)


def _leaves(engine: Engine, axes: Sequence[Axis], d: int, axis: Axis, within: dict[int, Ints]) -> Iterator[_Leaf]:
    """Split an axis into its parts for each index of the pinned atoms, on other axes, that its families range over."""
    for atom in axis.atoms:
        over = _ranges_over(engine, engine.atoms[atom])
        home = [e for e, other in enumerate(axes) if e != d and over in other.atoms]
        if over is None or over in axis.atoms or len(home) != 1:
            continue
        values = axes[home[0]].values(over)
        for index in range(engine.atoms[over].size):
            here = np.nonzero(values == index)[0]
            if home[0] in within:
                here = np.intersect1d(here, within[home[0]])
            part = engine.at_index(axis.copy(), over, index)
            if len(here):
                yield from _leaves(engine, axes, d, part, {**within, home[0]: here})
        return
    yield axis, within


def _blocks_of(engine: Engine, axis: Axis, within: dict[int, Ints], out: Reading) -> Iterator[RawBlock]:
    """Read the blocks of one leaf: positions whose paths go through the same atoms."""
    # an axis may hold several kinds of units one after the other, as a concatenation does: each is a block of its own
    signature = row_labels(atom_of(axis.paths))
    for s in np.unique(signature):
        here = np.nonzero(signature == s)[0]
        paths = axis.paths[here]
        atoms = [int(a) for a in atom_of(paths[0]) if a >= 0] if paths.shape[1] else []
        moving = [i for i, a in enumerate(atoms) if not engine.atoms[a].pinned]
        if not moving:
            continue
        if len(set(atoms)) < len(atoms):
            out.stuck.update(dict.fromkeys((atoms[i] for i in moving), "its units occur twice in one place"))
            continue
        # pinned units tell copies apart, as tags do: they are there, and only do not move
        still = [i for i in range(len(atoms)) if i not in moving]
        copy = row_labels(np.concatenate([axis.tags[here, None], paths[:, still]], 1))
        sizes = [engine.atoms[atoms[i]].size for i in moving]
        positions = np.full([int(copy.max()) + 1, *sizes], -1, np.int64)
        positions[(copy, *index_of(paths[:, moving]).T)] = here
        if (positions < 0).any() or positions.size != len(here):
            out.stuck.update(dict.fromkeys((atoms[i] for i in moving), "only some of its units are on the axis"))
            continue
        yield RawBlock(tuple(atoms[i] for i in moving), positions, within)


def _check_contexts(engine: Engine, out: Reading, homes: dict[int, set[int]]) -> None:
    """Find contexts that are neither in the block nor on exactly one other axis, and axes that depend on each other."""
    needs: dict[int, set[int]] = {d: set() for d in range(len(out.axes))}
    for d, blocks in enumerate(out.axes):
        for block in blocks:
            needs[d] |= block.within.keys()
            for atom in block.atoms:
                context = engine.context_of(engine.atoms[atom]) or frozenset()
                kept = {c for c in context if c in block.atoms or _one_home(homes.get(c, set()) - {d})}
                kept = {c for c in kept if not engine.atoms[c].pinned}
                if kept != context:
                    out.loose[atom] = kept & out.loose.get(atom, kept)
                needs[d] |= {e for c in kept - {*block.atoms} for e in homes[c] - {d}}
    for d, others in needs.items():
        if any(d in needs[e] for e in others):
            for block in out.axes[d]:
                out.stuck.update(dict.fromkeys(block.atoms, "two axes of a tensor depend on each other"))


def _one_home(axes: set[int]) -> bool:
    return len(axes) == 1 and -1 not in axes
