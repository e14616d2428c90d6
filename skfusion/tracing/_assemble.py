"""Make a symmetry of the labels that the weights have after a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from skfusion.symmetry import Axes, Block, Group, Site, Symmetry
from skfusion.tracing._axis import atoms_in
from skfusion.tracing._blocks import RawAxes, read, settle
from skfusion.tracing._engine import Engine
from skfusion.tracing._trace import Trace, Weight

NO_REASON = "its units are distinguished by their position"


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
