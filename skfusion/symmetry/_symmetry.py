"""The permutations of units that leave the function of a network unchanged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from skfusion._numbers import place_of
from skfusion.state import State, is_statistic
from skfusion.symmetry._action import check, moved
from skfusion.symmetry._group import Axes, Block, Group, Permutations, Site, same
from skfusion.symmetry._law import GroupLaw
from skfusion.symmetry._roles import completed
from skfusion.symmetry._words import declared, table


class Symmetry(GroupLaw):
    r"""The permutation symmetry of an architecture: which group of units is on which axis of which tensor.

    The units of a hidden layer can change places if the rows of the weight that computes them, its bias and the columns
    of the weight that reads them do so too: :math:`f(x; \pi\theta) = f(x; \theta)`. A symmetry is found by
    :func:`skfusion.tracing.symmetry_of`, or declared by :meth:`of_axes`.

    Parameters
    ----------
    groups : iterable of Group
        The units that change places.
    axes : dict of tuple of tuple of Block
        The groups on each axis of each tensor, by name.
    shapes : dict of tuple of int
        Shapes of these tensors, by name.
    buffers : collection of str, optional
        Which of them are buffers: they move with their units, but units are not matched by them.
    pinned : dict of str, optional
        Why an axis does not move, by (tensor, axis).
    sites : sequence of Site, optional
        Activations of a forward pass whose units belong to groups.
    notes : sequence of str, optional
        Other remarks, for :meth:`describe`.
    roles : dict of sequence of (str or None), optional
        What the units are on each axis of a tensor, for maps that are no permutations: ``"out"`` where they are made
        (rows of a weight, biases, columns of an embedding), ``"in"`` where they are read, and so summed over (columns
        of a weight), ``"scale"`` where each is met by a number or a kernel of its own (gains of a norm, running
        variances, depthwise convolutions), which only a permutation leaves exact, and ``"both"`` for tied weights. By
        convention where it is None: vectors are made, or scale if they are called weight or running_var; of other
        tensors the second axis reads.

    Attributes
    ----------
    groups : dict of Group
        By name.
    roles : dict of tuple of str
        The role of each axis of each tensor.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.symmetry import Symmetry
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    >>> axes = {"0.weight": ("hidden", None), "0.bias": ("hidden",), "2.weight": (None, "hidden")}
    >>> symmetry = Symmetry.of_axes(axes, net.state_dict())
    >>> x, before = torch.ones(1, 3), net(torch.ones(1, 3))
    >>> _ = net.load_state_dict(symmetry.permute(symmetry.sample(0), net.state_dict()))
    >>> torch.allclose(net(x), before)
    True
    """

    def __init__(
        self,
        groups: Iterable[Group],
        axes: Mapping[str, Axes],
        shapes: Mapping[str, tuple[int, ...]],
        buffers: Collection[str] = (),
        pinned: Mapping[tuple[str, int], str] | None = None,
        sites: Sequence[Site] = (),
        notes: Sequence[str] = (),
        roles: Mapping[str, Sequence[str | None]] | None = None,
    ):
        self.groups: dict[str, Group] = {group.name: group for group in groups}
        self.axes = dict(axes)
        self.shapes = {name: tuple(shapes[name]) for name in axes}
        self.buffers = tuple(sorted(buffers))  # a set would be pickled in another order by each process
        self.pinned = dict(pinned or {})
        self.sites = tuple(sites)
        self.notes = tuple(notes)
        self.roles = completed(roles, self.shapes)
        for group in self.groups.values():
            if missing := [c for c in group.context if c not in self.groups]:
                raise ValueError(f"Group {group.name!r} is indexed by {missing[0]!r}, which is no group.")
        for name, parts in self.axes.items():
            check(name, parts, self.shapes[name], self.groups)

    @classmethod
    def of_axes(
        cls,
        axes: Mapping[str, Sequence[str | None]],
        state: State,
        buffers: Collection[str] | None = None,
        roles: Mapping[str, Sequence[str | None]] | None = None,
    ) -> Symmetry:
        """Return a symmetry that is declared by hand.

        Parameters
        ----------
        axes : dict of sequence of (str or None)
            For each tensor that moves, the name of the group on each of its axes; None pins an axis. For a tensor that
            is tied in the state, one of its names is enough.
        state : State
            A state of the architecture.
        buffers : collection of str, optional
            Which of the tensors are buffers; ``running_mean`` and ``running_var`` when omitted.
        roles : dict of sequence of (str or None), optional
            What the units are on each axis, where the convention of :class:`Symmetry` does not hold: an embedding, for
            instance, is ``(None, "out")``. Permutations do not need it.

        Returns
        -------
        Symmetry
            It is not verified: :func:`skfusion.tracing.symmetry_of` takes ``axes`` and verifies them.
        """
        groups, parts = declared(axes, state)
        moved_buffers = [n for n in parts if is_statistic(n)] if buffers is None else buffers
        shapes = {name: tuple(state[name].shape) for name in parts}
        return cls(groups, parts, shapes, moved_buffers, roles=roles)

    def __repr__(self) -> str:
        return f"Symmetry({len(self.groups)} groups, {len(self.axes)} tensors, {len(self.sites)} sites)"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "pinned": [*self.pinned.items()]}  # skops takes no tuples as keys

    def __setstate__(self, stored: dict[str, Any]) -> None:
        vars(self).update(stored, pinned=dict(stored["pinned"]))

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters with an axis that moves; only the first name of a tied tensor."""
        first: dict[int, str] = {}
        for name, parts in self.axes.items():
            if name not in self.buffers and any(parts):
                first.setdefault(id(parts), name)
        return [*first.values()]

    def permute(self, perms: Permutations, state: State) -> State:
        """Return a state with its units permuted, which computes the same function.

        Parameters
        ----------
        perms : dict of ndarray
            Permutations by group, or an alignment by permutations; groups that are left out do not move.
        state : State
            A state of the architecture.

        Returns
        -------
        State
            Tensors that do not move are those of ``state``; tied tensors stay tied.

        Raises
        ------
        ValueError
            If a tensor is missing or of another shape, or an array is no permutation; the message names it.
        """
        perms = self.complete(perms)
        still = {n for n, p in perms.items() if (p == np.arange(p.shape[-1])).all()}
        done: dict[object, list[tuple[Axes, Tensor]]] = {}
        out = copy(state)  # which keeps the versions of modules that torch attaches to a state_dict
        for name, parts in self.axes.items():
            if not any(g not in still for blocks in parts for b in blocks for g in b.groups):
                continue
            tensor = self.tensor(name, state)
            known = done.setdefault(place_of(tensor), [])
            # a tied tensor stays tied, unless it moves in another way under its other name
            twin = next((tensor for axes, tensor in known if same(axes, parts)), None)
            out[name] = moved(tensor, parts, self.groups, perms) if twin is None else twin
            known.append((parts, out[name]))
        return out

    def tensor(self, name: str, state: State) -> Tensor:
        """Return a tensor of a state, detached, after checking that it is of the architecture of the symmetry.

        Parameters
        ----------
        name : str
            Of a tensor of the symmetry.
        state : State
            A state of the architecture.

        Returns
        -------
        Tensor
            Not a copy.

        Raises
        ------
        ValueError
            If it is missing or of another shape.
        """
        if name not in state:
            raise ValueError(f"The state has no tensor {name!r}: its architecture is not that of the symmetry.")
        tensor = state[name].detach()
        if tuple(tensor.shape) != self.shapes[name]:
            raise ValueError(
                f"Tensor {name!r} is of shape {tuple(tensor.shape)} in the state and {self.shapes[name]} in the "
                "symmetry: the state is of another architecture."
            )
        return tensor

    def frozen(self, reasons: Mapping[str, str]) -> Symmetry:
        """Return a symmetry in which some groups do not move, nor those that are indexed by them.

        Parameters
        ----------
        reasons : dict of str
            Why, by name of the group.

        Returns
        -------
        Symmetry
            It has the reasons among ``pinned`` and ``notes``.
        """
        why = _spread(self.groups, reasons)
        frozen = {g: reason for g, reason in why.items() if g in self.groups}
        axes, pinned = _at_rest(self.axes, frozen)
        kept = [(site, _at_rest({"": site.axes}, frozen)[0][""]) for site in self.sites]
        return Symmetry(
            [g for name, g in self.groups.items() if name not in frozen],
            axes,
            self.shapes,
            self.buffers,
            {**self.pinned, **pinned},
            [replace(site, axes=parts) for site, parts in kept if any(parts)],
            [*self.notes, *(f"group {g!r} does not move: {reason}" for g, reason in frozen.items())],
            self.roles,
        )

    def describe(self) -> Any:
        """Return a table of the groups, and of the axes that do not move.

        Returns
        -------
        DataFrame
            A row for each group (its size, its context, and its axes), then a row for each reason why
            axes do not move. ``attrs["notes"]`` has the notes.
        """
        return table(self.groups, self.axes, self.pinned, self.notes)


def _spread(groups: Mapping[str, Group], reasons: Mapping[str, str]) -> dict[str, str]:
    """Return why groups do not move, including the groups that are indexed by such ones."""
    why = dict(reasons)
    while more := {
        group.name: f"it is indexed by {c!r}, which does not: {why[c]}"
        for group in groups.values()
        for c in group.context
        if c in why and group.name not in why
    }:
        why |= more
    return why


def _at_rest(
    axes: Mapping[str, Axes], reasons: Mapping[str, str]
) -> tuple[dict[str, Axes], dict[tuple[str, int], str]]:
    """Return the blocks that still move, and why axes no longer do; names of one tied tensor keep sharing blocks."""
    done: dict[int, Axes] = {}
    pinned: dict[tuple[str, int], str] = {}
    for name, parts in axes.items():
        if id(parts) not in done:
            done[id(parts)] = tuple(tuple(left for b in blocks for left in _left(b, reasons)) for blocks in parts)
        for axis, (before, after) in enumerate(zip(parts, done[id(parts)], strict=True)):
            if before and not after:
                pinned[name, axis] = next(reasons[g] for b in before for g in b.groups if g in reasons)
    return {name: done[id(parts)] for name, parts in axes.items()}, pinned


def _left(block: Block, frozen: Mapping[str, str]) -> Iterator[Block]:
    """Yield a block without its frozen groups, whose units count as copies then, if any group is left."""
    kept = [k for k, g in enumerate(block.groups) if g not in frozen]
    if len(kept) == len(block.groups):
        yield block
    elif kept:
        front = np.moveaxis(block.positions, [k + 1 for k in kept], range(-len(kept), 0))
        groups = tuple(block.groups[k] for k in kept)
        yield Block(groups, front.reshape(-1, *front.shape[-len(kept) :]), block.within)
