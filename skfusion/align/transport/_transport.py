"""Transport: an alignment by a linear map of the units of each group, soft or hard, to as many units or to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, final

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from skfusion._numbers import place_of
from skfusion.align._base import Alignment, PermutationAlignment, described
from skfusion.state import State
from skfusion.symmetry import LinearMap, Permutations, Symmetry, mapped


@final
class Transport(Alignment, Mapping[str, LinearMap]):
    r"""An alignment under which new units are mixtures of old ones.

    For each group, ``out`` says how the new units are made, and ``into`` how those that read the old units read the new
    ones: where the old units are made, :math:`W \leftarrow \mathrm{out}\, W`, and where they are read,
    :math:`W \leftarrow W\, \mathrm{into}`. Permutations are the case in which ``out`` has one 1 in each row and each
    column, and ``into`` is its transpose; only these, and copies and splits of equal units, keep the function of every
    network.

    It is a mapping, too: ``transport[group]`` is the pair ``(out, into)``.

    Parameters
    ----------
    maps : dict of pair of ndarray
        By group, ``out`` of shape (\*context sizes, n_to, n_from) and ``into`` of shape (\*context sizes, n_from,
        n_to), where the context is that of the group, such as heads; groups that are left out stay as they are.
    symmetry : Symmetry
        The groups, and where their units are in the tensors, of the network that is mapped.
    history : sequence of float, optional
        What was minimised.
    matched : dict of float, optional
        Mean cost or similarity of the units that were matched, by group.

    Notes
    -----
    Where units are scaled one by one (the gains of a norm, running variances), the numbers are averaged as those are
    with which units are made, which is exact for permutations alone.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skfusion.align import Transport
    >>> from skfusion.symmetry import Symmetry
    >>> state = {
    ...     "0.weight": torch.tensor([[1.0], [1.0], [3.0]]),
    ...     "1.weight": torch.tensor([[1.0, 2.0, 4.0]]),
    ... }
    >>> symmetry = Symmetry.of_axes({"0.weight": ("hidden", None), "1.weight": (None, "hidden")}, state)
    >>> halves = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])  # of the first two units, which are equal
    >>> narrow = Transport({"hidden": (halves, np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))}, symmetry)
    >>> {name: tensor.tolist() for name, tensor in narrow.apply(state).items()}
    {'0.weight': [[1.0], [3.0]], '1.weight': [[3.0, 4.0]]}
    """

    def __init__(
        self,
        maps: Mapping[str, tuple[np.ndarray, np.ndarray]],
        symmetry: Symmetry,
        history: Sequence[float] = (),
        matched: Mapping[str, float] | None = None,
    ):
        self._maps = {name: _checked(name, pair, symmetry) for name, pair in maps.items()}
        self.symmetry = symmetry
        self.history = tuple(history)
        self.matched = dict(matched or {})

    @classmethod
    def from_permutations(cls, perms: Permutations, symmetry: Symmetry) -> Transport:
        """Return the transport that does what permutations do.

        Parameters
        ----------
        perms : dict of ndarray
            Permutations by group, or an alignment by permutations.
        symmetry : Symmetry
            The groups, and where their units are in the tensors.

        Returns
        -------
        Transport
            Its matrices hold zeros and ones.
        """
        hard = {name: np.eye(p.shape[-1])[p] for name, p in symmetry.complete(perms).items() if name in perms}
        return cls({name: (out, out.swapaxes(-1, -2)) for name, out in hard.items()}, symmetry)

    @classmethod
    def from_plans(
        cls,
        plans: Mapping[str, np.ndarray],
        symmetry: Symmetry,
        history: Sequence[float] = (),
        matched: Mapping[str, float] | None = None,
    ) -> Transport:
        r"""Return the transport of couplings: each new unit is the mean of the old ones that send it mass.

        With a plan T whose rows sum to the masses :math:`\alpha` of the old units and whose columns sum to those
        :math:`\beta` of the new ones, ``out`` is :math:`\mathrm{diag}(1/\beta)\, T^\top` and ``into`` is
        :math:`\mathrm{diag}(1/\alpha)\, T`, so that all that is read of a unit is read somewhere.

        Parameters
        ----------
        plans : dict of ndarray
            By group, of shape (\*context sizes, n_from, n_to), without negative numbers.
        symmetry : Symmetry
            The groups, and where their units are in the tensors.
        history : sequence of float, optional
            What was minimised.
        matched : dict of float, optional
            Mean cost or similarity of the units that were matched, by group.

        Returns
        -------
        Transport
            The rows of ``out`` and those of ``into`` sum to 1.
        """
        maps = {}
        for name, plan in plans.items():
            t = np.asarray(plan, np.float64)
            alpha, beta = t.sum(-1, keepdims=True), t.sum(-2, keepdims=True)
            if not (t >= 0).all() or not (alpha > 0).all() or not (beta > 0).all():
                raise ValueError(f"The plan of group {name!r} has negative numbers, or a row or column without mass.")
            maps[name] = ((t / beta).swapaxes(-1, -2), t / alpha)
        return cls(maps, symmetry, history, matched)

    def __getitem__(self, group: str) -> LinearMap:
        return self._maps[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Transport):
            return NotImplemented
        pairs = ((pair, other[name]) for name, pair in self.items() if name in other)
        same = all(np.array_equal(x, y) for one, two in pairs for x, y in zip(one, two, strict=True))
        return self.keys() == other.keys() and same

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{m.out.shape[-1]} to {m.out.shape[-2]}" for m in self.values())
        return f"Transport({len(self)} groups: {sizes})"

    @property
    def is_permutation(self) -> bool:
        """Whether no units are mixed, so that the aligned network computes the same function."""
        return all(m.is_permutation for m in self.values())

    def permutations(self) -> PermutationAlignment:
        """Return the permutations that are nearest: an assignment that maximises what is sent to each new unit.

        Returns
        -------
        PermutationAlignment
            For each group; groups that are left out do not move.

        Raises
        ------
        ValueError
            If the number of units of a group changes.
        """
        perms = {}
        for name, (out, _) in self.items():
            if out.shape[-1] != out.shape[-2]:
                raise ValueError(f"Group {name!r} of {out.shape[-1]} units becomes {out.shape[-2]}: no permutation.")
            flat = out.reshape(-1, *out.shape[-2:])
            best = [linear_sum_assignment(m, maximize=True)[1] for m in flat]
            perms[name] = np.stack(best).reshape(out.shape[:-1])
        return PermutationAlignment(self.symmetry.complete(perms), self.symmetry, self.history, self.matched)

    def apply(self, state: State) -> State:
        """Return a state with its units mapped; see :meth:`Alignment.apply`.

        Tensors of groups whose number of units changes have another shape. Tied tensors stay tied, and those that do
        not change are shared with ``state``.

        Raises
        ------
        ValueError
            If a tensor does not allow such a map, by its name: integers on a soft map, weights that make and read the
            same units, units that do not follow one another where their number changes.
        """
        if self.is_permutation:
            perms = {name: m.out.argmax(-1) for name, m in self.items()}
            return self.symmetry.permute(perms, state)
        s = self.symmetry
        done: dict[object, list[tuple[object, Tensor]]] = {}
        out = copy(state)  # which keeps the versions of modules that torch attaches to a state_dict
        for name, parts in s.axes.items():
            if not any(g in self for blocks in parts for b in blocks for g in b.groups):
                continue
            tensor, how = s.tensor(name, state), (id(parts), s.roles[name])
            known = done.setdefault(place_of(tensor), [])
            new = next((t for other, t in known if other == how), None)  # a tied tensor stays tied
            if new is None:
                try:
                    new = mapped(tensor, parts, s.roles[name], s.groups, self)
                except ValueError as error:
                    raise ValueError(f"Tensor {name!r} cannot be mapped by {self!r}: {error}.") from error
                known.append((how, new))
            out[name] = new
        return out

    def then(self, other: Transport) -> Transport:
        """Return the transport that does what this one does, and then what another does.

        Parameters
        ----------
        other : Transport
            For states that this one returns.

        Returns
        -------
        Transport
            ``first.then(second).apply(state)`` is ``second.apply(first.apply(state))``.

        Raises
        ------
        ValueError
            If the numbers of units do not fit, or outer units, such as heads, that are mixed have inner ones that are
            mapped before, which no pair of matrices for each group expresses.
        """
        maps = dict(other)
        for name, first in self.items():
            context = self.symmetry.groups[name].context
            moved = [c for c in context if c in other]
            if mixed := [c for c in moved if not other[c].is_permutation]:
                raise ValueError(
                    f"Group {name!r} is mapped before the units of {mixed[0]!r}, which index it, are mixed."
                )
            if moved:  # what happened to inner units is looked up where their outer units stood before
                perms = self.symmetry.complete({c: other[c].out.argmax(-1) for c in moved})
                was_at = self.symmetry.old_context(self.symmetry.groups[name], perms)
                first = LinearMap(first.out[was_at], first.into[was_at])
            second = other.get(name)
            if second is None:
                maps[name] = first
                continue
            n, m = first.out.shape[-2], second.out.shape[-1]
            if n != m:
                raise ValueError(f"Group {name!r} has {n} units after the first map; the second one is for {m}.")
            maps[name] = LinearMap(second.out @ first.out, first.into @ second.into)
        return Transport(maps, self.symmetry)

    def describe(self) -> Any:
        """Return a table of what happens to each group of units; see :meth:`Alignment.describe`.

        ``largest`` is the mean share of a new unit that comes from one old one: 1 where no units are mixed.
        ``sum_error`` is how far the rows of ``out`` and ``into`` are from a sum of 1, and ``similarity`` the mean cost
        or similarity of the units that were matched, NaN where it was not measured. ``attrs["history"]`` has the
        history.
        """
        rows = [
            (name, m.out.shape[-1], m.out.shape[-2], float(m.out.max(-1).mean()), error, self.matched.get(name, np.nan))
            for (name, m), error in zip(self.items(), self.sum_errors().values(), strict=True)
        ]
        return described(rows, ["group", "size", "new size", "largest", "sum_error", "similarity"], self.history)

    def sum_errors(self) -> dict[str, float]:
        """Return how far the rows of ``out`` and ``into`` are from a sum of 1, by group.

        Returns
        -------
        dict of float
            0 for permutations; for a transport of couplings no more than rounding, and how far an iteration was from
            its end where its plan was used as it was.
        """
        return {name: float(max(np.abs(matrix.sum(-1) - 1).max() for matrix in pair)) for name, pair in self.items()}


def _checked(name: str, pair: Sequence[np.ndarray], symmetry: Symmetry) -> LinearMap:
    """Return a pair of matrices, after checking that they fit each other and the group."""
    if name not in symmetry.groups:
        raise ValueError(f"There is no group {name!r}; the groups are {[*symmetry.groups]}.")
    group = symmetry.groups[name]
    out, into = (np.asarray(matrix, np.float64) for matrix in pair)
    lead = tuple(symmetry.groups[c].size for c in group.context)
    n_to = out.shape[-2] if out.ndim >= 2 else 0
    if out.shape != (*lead, n_to, group.size) or into.shape != (*lead, group.size, n_to) or not n_to:
        raise ValueError(
            f"Group {name!r} of {group.size} units has an out of shape {out.shape} and an into of shape {into.shape}: "
            f"they must be of shape {(*lead, 'n_to', group.size)} and {(*lead, group.size, 'n_to')}."
        )
    if not (np.isfinite(out).all() and np.isfinite(into).all()):
        raise ValueError(f"The map of group {name!r} holds NaN or infinity.")
    return LinearMap(out, into)
