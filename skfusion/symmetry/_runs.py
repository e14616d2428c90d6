"""How the units of a group lie on an axis, and the symmetry of a network whose groups have other sizes.

On an axis of a flattened image, channel after channel, each of the n units of a group is a piece of ``step`` positions:
the axis holds one run of n pieces. The four gates of a recurrent layer are four runs of pieces of one position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skfusion.state import State
from skfusion.symmetry._group import Axes, Block
from skfusion.symmetry._symmetry import Symmetry


@dataclass(frozen=True)
class Run:
    """Units one after another on an axis.

    Parameters
    ----------
    start : int
        The first position.
    size : int
        Number of units.
    step : int
        Positions of each unit.
    """

    start: int
    size: int
    step: int

    @property
    def stop(self) -> int:
        """The position behind the last one."""
        return self.start + self.size * self.step


def runs_of(blocks: Sequence[Block], group: str, where: str) -> list[Run]:
    """Return where the units of a group lie on an axis, in order.

    Parameters
    ----------
    blocks : sequence of Block
        The blocks of the axis.
    group : str
        A group, which may have no units there.
    where : str
        The axis, for a message.

    Returns
    -------
    list of Run
        Its runs, which do not overlap.

    Raises
    ------
    ValueError
        If the positions of units are no runs, or units are there for some positions of other axes only.
    """
    runs: list[Run] = []
    for block in blocks:
        if group not in block.groups:
            continue
        if block.within:
            raise ValueError(f"{where} has other units for other positions, so its width cannot change.")
        positions = np.moveaxis(block.positions, block.groups.index(group) + 1, 0)
        runs += _runs(positions.reshape(len(positions), -1), where)
    return sorted(runs, key=lambda run: run.start)


def _runs(positions: np.ndarray, where: str) -> list[Run]:  # positions shape: (n_units, n_copies)
    n = len(positions)
    positions = positions[:, np.argsort(positions[0])]
    if n == 1 and positions.shape[1] > 1:
        raise ValueError(f"{where} has one unit, of which it is unknown how others would lie beside it.")
    step = int(positions[1, 0] - positions[0, 0]) if n > 1 else 1
    heads = positions[0, :: max(step, 1)]
    whole = (heads[:, None] + np.arange(max(step, 1))).ravel()
    even = positions[0] + step * np.arange(n)[:, None]
    if step < 1 or not np.array_equal(positions[0], whole) or not np.array_equal(positions, even):
        raise ValueError(f"{where} has its units in no regular order, so its width cannot change.")
    return [Run(int(start), n, step) for start in heads]


def resized_symmetry(symmetry: Symmetry, sizes: Mapping[str, int]) -> Symmetry:
    """Return the symmetry of the same network with other numbers of units.

    Parameters
    ----------
    symmetry : Symmetry
        That of the network.
    sizes : dict of int
        Units by group; the other groups stay as they are.

    Returns
    -------
    Symmetry
        With the shapes that tensors then have. It is not verified.

    Raises
    ------
    ValueError
        If units lie on an axis in such a way that it is unknown where others would lie.
    """
    done: dict[int, tuple[Axes, tuple[int, ...]]] = {}
    axes, shapes = dict(symmetry.axes), dict(symmetry.shapes)
    for name, parts in symmetry.axes.items():
        if id(parts) not in done:  # names of one tied tensor keep sharing their blocks
            done[id(parts)] = _resized(parts, shapes[name], sizes, f"tensor {name!r}")
        axes[name], shapes[name] = done[id(parts)]
    sites = []
    for site in symmetry.sites:
        parts, shape = _resized(site.axes, site.shape, sizes, f"the activation of {site.name} in {site.where!r}")
        sites.append(replace(site, axes=parts, shape=shape))
    groups = [replace(g, size=sizes.get(g.name, g.size)) for g in symmetry.groups.values()]
    return Symmetry(groups, axes, shapes, symmetry.buffers, symmetry.pinned, sites, symmetry.notes, symmetry.roles)


def _resized(parts: Axes, shape: tuple[int, ...], sizes: Mapping[str, int], what: str) -> tuple[Axes, tuple[int, ...]]:
    """Return the blocks and the shape of a tensor whose groups have other sizes."""
    if not any(g in sizes for blocks in parts for b in blocks for g in b.groups):
        return parts, shape
    if any(b.within for blocks in parts for b in blocks):
        raise ValueError(f"The width of {what} cannot change: it has other units for other positions.")
    new, lengths = [], []
    for axis, (blocks, length) in enumerate(zip(parts, shape, strict=True)):
        for group in dict.fromkeys(g for b in blocks for g in b.groups if g in sizes):
            blocks, length = _with(blocks, length, group, sizes[group], f"Axis {axis} of {what}")
        new.append(blocks)
        lengths.append(length)
    return tuple(new), tuple(lengths)


def _with(blocks: tuple[Block, ...], length: int, group: str, size: int, where: str) -> tuple[tuple[Block, ...], int]:
    """Return the blocks and the length of an axis where one group has another size."""
    runs = runs_of(blocks, group, where)
    grown = [(size - run.size) * run.step for run in runs]
    stops = np.array([run.stop for run in runs])
    shift = np.concatenate([[0], np.cumsum(grown)])

    def moved(positions: np.ndarray) -> np.ndarray:
        new: np.ndarray = positions + shift[np.searchsorted(stops, positions, side="right")]
        return new

    out = []
    for block in blocks:
        if group not in block.groups:
            out.append(replace(block, positions=moved(block.positions)))
            continue
        axis = block.groups.index(group) + 1
        first = moved(block.positions.take([0], axis))
        step = runs[0].step if block.positions.shape[axis] == 1 else _step(block.positions, axis)
        side = tuple(-1 if d == axis else 1 for d in range(block.positions.ndim))
        out.append(replace(block, positions=first + step * np.arange(size).reshape(side)))
    return tuple(out), length + sum(grown)


def _step(positions: np.ndarray, axis: int) -> int:
    second, first = (int(positions.take(i, axis).ravel()[0]) for i in (1, 0))
    return second - first


def sizes_of(symmetry: Symmetry, state: State, name: str) -> dict[str, int]:
    """Return the number of units of each group in a state of the same network with other widths.

    Parameters
    ----------
    symmetry : Symmetry
        That of a network of the same layers.
    state : State
        A state, whose tensors may be of other lengths where groups have units.
    name : str
        What the state is called in a message, such as ``"member 1"``.

    Returns
    -------
    dict of int
        Units by group.

    Raises
    ------
    ValueError
        If no widths make the tensors of the network as large as those of the state; it names a tensor.
    """
    votes: dict[str, Counter[int]] = {}
    for with_known in (False, True):  # where an axis has several groups, the others may be known from other axes
        sizes = {g: size for g, counts in votes.items() if (size := counts.most_common(1)[0][0])}
        for key, parts in symmetry.axes.items():
            if key not in state or state[key].dim() != len(parts):
                continue
            for axis, blocks in enumerate(parts):
                groups = {g for b in blocks for g in b.groups}
                unknown = [*(groups - sizes.keys())]
                if len(unknown) == 1 and with_known == (len(groups) > 1):
                    size = _size(symmetry, key, axis, unknown[0], sizes, state[key].shape[axis])
                    votes.setdefault(unknown[0], Counter())[size] += size > 0
    sizes = {
        g.name: votes[g.name].most_common(1)[0][0] if g.name in votes else g.size for g in symmetry.groups.values()
    }
    changed = {g: n for g, n in sizes.items() if n != symmetry.groups[g].size}
    expected = resized_symmetry(symmetry, changed).shapes if all(changed.values()) else symmetry.shapes
    for key, shape in expected.items():
        if key in state and tuple(state[key].shape) != shape:
            raise ValueError(
                f"Tensor {key!r} has shape {tuple(state[key].shape)} in {name}, where those of one architecture have "
                f"{shape}. Hidden layers may have other numbers of units, and all else must be the same: networks of "
                "different architectures can be combined by their predictions: EnsembleClassifier, EnsembleRegressor, "
                "StackingFusion."
            )
    return sizes


def _size(symmetry: Symmetry, key: str, axis: int, group: str, sizes: Mapping[str, int], length: int) -> int:
    """Return how many units of a group an axis has that is of some length; 0 where no number fits."""
    blocks, now, where = symmetry.axes[key][axis], symmetry.shapes[key][axis], f"Axis {axis} of tensor {key!r}"
    try:
        for other in dict.fromkeys(g for b in blocks for g in b.groups if g != group):
            blocks, now = _with(blocks, now, other, sizes[other], where)
        per_unit = sum(run.step for run in runs_of(blocks, group, where))
    except ValueError:
        return 0
    grown, rest = divmod(length - now, per_unit)
    return 0 if rest else max(0, symmetry.groups[group].size + grown)
