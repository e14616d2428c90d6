"""The permutations of units that leave the function of a network as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from math import lgamma, log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion._numbers import place_of
from skfusion.state import State
from skfusion.symmetry._action import check, moved
from skfusion.symmetry._declare import declared
from skfusion.symmetry._describe import table
from skfusion.symmetry._freeze import at_rest, spread
from skfusion.symmetry._group import Axes, Group, Permutations, Site, same
from skfusion.symmetry._law import completed, composed, identity, inverted

Seed = int | np.random.Generator | torch.Generator | None


class Symmetry:
    r"""The permutation symmetry of an architecture: which group of units stands on which axis of which tensor.

    A hidden layer's units can change places, if the rows of the weight that makes them, its bias and the columns of the
    weight that reads them change places too: :math:`f(x; \pi\theta) = f(x; \theta)`. It is found by
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
        Those of them that are buffers: they move with their units, but say nothing of which units are alike.
    pinned : dict of str, optional
        Why an axis does not move, by (tensor, axis).
    sites : sequence of Site, optional
        Activations of a forward pass whose units belong to groups.
    notes : sequence of str, optional
        What else was noticed.

    Attributes
    ----------
    groups : dict of Group
        By name.

    References
    ----------
    Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836.

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
    ):
        given = groups.values() if isinstance(groups, Mapping) else groups
        self.groups: dict[str, Group] = {group.name: group for group in given}
        self.axes = dict(axes)
        self.shapes = {name: tuple(shapes[name]) for name in axes}
        self.buffers = frozenset(buffers)
        self.pinned = dict(pinned or {})
        self.sites = tuple(sites)
        self.notes = tuple(notes)
        for group in self.groups.values():
            if missing := [c for c in group.context if c not in self.groups]:
                raise ValueError(f"Group {group.name!r} is indexed by {missing[0]!r}, which is no group.")
        for name, parts in self.axes.items():
            check(name, parts, self.shapes[name], self.groups)

    @classmethod
    def of_axes(
        cls, axes: Mapping[str, Sequence[str | None]], state: State, buffers: Collection[str] | None = None
    ) -> Symmetry:
        """Return a symmetry that is declared by hand.

        Parameters
        ----------
        axes : dict of sequence of (str or None)
            For each tensor that moves, the name of the group on each of its axes; None pins an axis. Of a tensor that
            is tied in the state, one of its names will do.
        state : State
            A state of the architecture.
        buffers : collection of str, optional
            Those that are buffers; running statistics, by their names, when omitted.

        Returns
        -------
        Symmetry
            It is not verified: :func:`skfusion.tracing.symmetry_of` takes ``axes`` and does so.
        """
        groups, parts = declared(axes, state)
        statistics = ("running_mean", "running_var")
        moved_buffers = [n for n in parts if n.endswith(statistics)] if buffers is None else buffers
        return cls(groups, parts, {name: tuple(state[name].shape) for name in parts}, moved_buffers)

    def __repr__(self) -> str:
        return f"Symmetry({len(self.groups)} groups, {len(self.axes)} tensors, {len(self.sites)} sites)"

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters with an axis that moves; of a tied tensor only the first."""
        found: dict[int, str] = {}
        for name, parts in self.axes.items():
            if name not in self.buffers and any(parts):
                found.setdefault(id(parts), name)
        return [*found.values()]

    @property
    def log10_order(self) -> float:
        """Logarithm, to base 10, of the number of elements of the group."""
        total = 0.0
        for group in self.groups.values():
            total += np.prod([self.groups[c].size for c in group.context]) * lgamma(group.size + 1)
        return float(total) / log(10)

    def identity(self) -> Permutations:
        """Return the element that moves nothing.

        Returns
        -------
        dict of ndarray
            Permutations.
        """
        return identity(self.groups)

    def sample(self, random_state: Seed = None) -> Permutations:
        """Return a random element, each with the same probability.

        Parameters
        ----------
        random_state : int, numpy Generator or torch Generator, optional
            What to draw from.

        Returns
        -------
        dict of ndarray
            Permutations.
        """
        if isinstance(random_state, torch.Generator):
            random_state = int(torch.randint(2**31, (), generator=random_state, device=random_state.device))
        rng = np.random.default_rng(random_state)
        return {name: rng.permuted(p, axis=-1) for name, p in self.identity().items()}

    def permute(self, perms: Permutations, state: State) -> State:
        """Return a state with its units moved, which computes the same function.

        Parameters
        ----------
        perms : dict of ndarray
            Permutations by group; groups that are left out do not move.
        state : State
            A state of the architecture.

        Returns
        -------
        State
            Tensors that do not move are those of ``state``; tied tensors stay tied.

        Raises
        ------
        ValueError
            If a tensor is missing or of another shape, or a permutation is none; the message names it.
        """
        perms = self.complete(perms)
        still = {n for n, p in perms.items() if (p == np.arange(p.shape[-1])).all()}
        done: dict[object, list[tuple[Axes, Tensor]]] = {}
        out = copy(state)  # with the versions that torch keeps beside its tensors
        for name, parts in self.axes.items():
            if not any(g not in still for blocks in parts for b in blocks for g in b.groups):
                continue
            if name not in state:
                raise ValueError(f"The state has no tensor {name!r}: it is of another architecture than the symmetry.")
            tensor = state[name].detach()
            if tuple(tensor.shape) != self.shapes[name]:
                raise ValueError(
                    f"Tensor {name!r} is of shape {tuple(tensor.shape)} in the state and {self.shapes[name]} in the "
                    "symmetry: the state is of another architecture."
                )
            known = done.setdefault(place_of(tensor), [])
            twin = next((found for other, found in known if same(other, parts)), None)
            out[name] = moved(tensor, parts, self.groups, perms) if twin is None else twin
            known.append((parts, out[name]))
        return out

    def complete(self, perms: Permutations) -> Permutations:
        """Return permutations of all groups, after a look at those given.

        Parameters
        ----------
        perms : dict of ndarray
            Permutations of some groups.

        Returns
        -------
        dict of ndarray
            The others do not move.

        Raises
        ------
        ValueError
            If a name is not a group's, or an array is no permutation of its units.
        """
        return completed(self.groups, perms)

    def compose(self, first: Permutations, then: Permutations) -> Permutations:
        """Return the element that does what ``first``, and ``then`` the second one, does.

        Parameters
        ----------
        first, then : dict of ndarray
            Permutations.

        Returns
        -------
        dict of ndarray
            ``permute(compose(first, then), s)`` is ``permute(then, permute(first, s))``.
        """
        return composed(self.groups, self.complete(first), self.complete(then))

    def invert(self, perms: Permutations) -> Permutations:
        """Return the element that undoes another.

        Parameters
        ----------
        perms : dict of ndarray
            Permutations.

        Returns
        -------
        dict of ndarray
            Permutations.
        """
        return inverted(self.groups, self.complete(perms))

    def frozen(self, reasons: Mapping[str, str]) -> Symmetry:
        """Return a symmetry in which some groups do not move, nor those that are indexed by them.

        Parameters
        ----------
        reasons : dict of str
            Why, by name of the group.

        Returns
        -------
        Symmetry
            With the reasons among ``pinned`` and ``notes``.
        """
        why = spread(self.groups, reasons)
        rests = {g: reason for g, reason in why.items() if g in self.groups}
        axes, pinned = at_rest(self.axes, rests)
        kept = [(site, at_rest({"": site.axes}, rests)[0][""]) for site in self.sites]
        return Symmetry(
            [g for name, g in self.groups.items() if name not in rests],
            axes,
            self.shapes,
            self.buffers,
            {**self.pinned, **pinned},
            [replace(site, axes=parts) for site, parts in kept if any(parts)],
            [*self.notes, *(f"group {g!r} does not move: {reason}" for g, reason in rests.items())],
        )

    def describe(self) -> Any:
        """Return a table of the groups, and of the axes that do not move.

        Returns
        -------
        DataFrame
            A row for each group (its size, its context, and the axes it stands on), then a row for each reason why
            axes do not move. ``attrs["notes"]`` has the notes.
        """
        return table(self.groups, self.axes, self.pinned, self.notes)
