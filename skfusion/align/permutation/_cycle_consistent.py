"""C2M3: many networks are moved at once to a common order of their units (Crisostomi et al., 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.polynomial import polynomial
from torch import Tensor

from skfusion._coupling import assigned
from skfusion.align._base import Aligner, Alignment, PermutationAlignment, given_symmetry
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._merge_many import settled
from skfusion.align.permutation._soft import Maps, between, corners, mapped, places, slope
from skfusion.align.permutation._weight_matching import WeightMatching
from skfusion.objective import Objective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Permutations, Symmetry

_GAIN = 1e-4
"""Share of the value by which a step must raise it, or it is the last one."""
_MAX_SWEEPS = 100


class CycleConsistent(Aligner):
    r"""Move all units of many networks at once to a common order, by the Frank-Wolfe method (C2M3).

    .. math:: \max_{P_1, \dots, P_K} \; \sum_{j < k} \langle P_j \theta_j, P_k \theta_k \rangle

    Each network has its permutations to a common order, and no network is the reference: going from one network to a
    second, to a third and back moves nothing. The permutations are relaxed to doubly stochastic matrices, and all
    groups of all networks go together towards the corner where the slope points, as far as the value rises. The
    result, rounded to permutations, is improved as :class:`MergeMany` does, one group of one network at a time.

    Parameters
    ----------
    n_restarts : int, default=0
        Further starts, from random permutations. More may find a better order; each costs as much as the first.
    max_steps : int, default=200
        Steps of the Frank-Wolfe method, at most.
    random_state : int, default=0
        Seed of the restarts, and of the order of groups and networks in the end.

    Notes
    -----
    A step costs, for each of the K networks, n times the number of weights for groups of n units, and an assignment of
    at most n³ operations for each group. Along a step the value is a polynomial, of degree 4 where tensors have two
    axes that move, so that its maximum is exact, and the value never falls. 2 K states are in memory, and the tensors
    along a step of one layer of all networks.

    The method starts from the units as they are and from those that :class:`WeightMatching` brings to one of the
    networks, and the better result is kept; the authors start from the first alone, which does not always find the
    order of permuted copies of one network, and keep the rounded result. Neither the result nor that network, the one
    of the largest norm, depends on the order of the networks, except that the units of the first one stay. Attention
    heads and the channels in them are moved in the last part only.

    References
    ----------
    Crisostomi et al., "C2M3: cycle-consistent multi-model merging", NeurIPS 2024, arXiv:2405.17897.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import CycleConsistent
    >>> from skfusion.symmetry import Symmetry
    >>> a = {"0.weight": torch.randn(8, 3), "1.weight": torch.randn(2, 8)}
    >>> symmetry = Symmetry.of_axes({"0.weight": ("hidden", None), "1.weight": (None, "hidden")}, a)
    >>> copies = [symmetry.permute(symmetry.sample(k), a) for k in range(3)]
    >>> alignments = CycleConsistent().align_all(copies, symmetry)
    >>> first, *others = (alignment.apply(s)["0.weight"] for alignment, s in zip(alignments, copies))
    >>> all(torch.equal(other, first) for other in others)
    True
    """

    _test_sets = ({}, {"n_restarts": 1, "max_steps": 20})

    def __init__(self, n_restarts: int = 0, max_steps: int = 200, random_state: int = 0):
        self.n_restarts = n_restarts
        self.max_steps = max_steps
        self.random_state = random_state

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        return self._common_order([reference, state], given_symmetry(self, symmetry))[1]

    def align_all(
        self, states: Sequence[State], symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> list[Alignment]:
        """Return permutations for each state, the first of which stays; see :meth:`Aligner.align_all`."""
        return [*self._common_order(states, given_symmetry(self, symmetry))]

    def _common_order(self, states: Sequence[State], symmetry: Symmetry) -> list[PermutationAlignment]:
        """Return the permutations to a common order, which is that of the first state."""
        if self.n_restarts < 0 or self.max_steps < 1:
            raise ValueError(f"n_restarts is at least 0 and max_steps at least 1; got {self!r}.")
        check_compatible(states)
        if len(states) == 1 or not symmetry.groups:
            return [PermutationAlignment(symmetry.identity(), symmetry) for _ in states]
        with torch.no_grad():
            norms = [sum(float(s[n].double().square().sum()) for n in _compared(s, symmetry)) for s in states]
            order = sorted(range(len(states)), key=lambda k: -norms[k])
            perms, history = self._best([states[k] for k in order], symmetry)
        found = dict(zip(order, perms, strict=True))
        back = symmetry.invert(found[0])
        return [PermutationAlignment(symmetry.compose(found[k], back), symmetry, history) for k in range(len(states))]

    def _best(self, states: Sequence[State], symmetry: Symmetry) -> tuple[list[Permutations], list[float]]:
        """Return the permutations from the best start, and the values on the way."""
        rng = np.random.default_rng(self.random_state)
        at_rest: list[Permutations] = [symmetry.identity() for _ in states]
        as_they_are = value_of([Match(s, states[0], symmetry) for s in states])
        pairwise = WeightMatching(random_state=self.random_state)
        starts = [at_rest, [symmetry.identity(), *(pairwise(s, states[0], symmetry) for s in states[1:])]]
        starts += [[symmetry.sample(rng) for _ in states] for _ in range(self.n_restarts)]
        best, history = at_rest, [as_they_are]
        for start in starts:
            moved = [symmetry.permute(p, s) for p, s in zip(start, states, strict=True)]
            steps, rises = frank_wolfe(moved, symmetry, self.max_steps)
            first = value_of([Match(s, states[0], symmetry) for s in moved])
            matches = [Match(symmetry.permute(p, s), states[0], symmetry) for p, s in zip(steps, moved, strict=True)]
            settled(matches, _MAX_SWEEPS, rng)
            value = value_of(matches)
            if value > history[-1]:
                parts = zip(start, steps, matches, strict=True)
                best = [symmetry.compose(symmetry.compose(p, q), m.perms) for p, q, m in parts]
                history = [as_they_are, *(first + rise for rise in rises), value]
        return best, history


def frank_wolfe(states: Sequence[State], symmetry: Symmetry, max_steps: int) -> tuple[list[Permutations], list[float]]:
    """Return permutations of each state, rounded, and by how much the relaxed value has risen after each step."""
    matches = [Match(s, states[0], symmetry) for s in states]
    tensors = [m.b for m in matches]  # in the precision that states are compared in
    at = places(symmetry, tensors[0])
    moving = [*dict.fromkeys(place.tensor for some in at.values() for place in some)]
    if not moving:
        return [symmetry.identity() for _ in states], []
    like = tensors[0][moving[0]]
    maps: list[Maps] = [corners(symmetry, symmetry.identity(), like) for _ in states]
    values: list[float] = []
    for _ in range(max_steps):
        now = [{n: mapped(s[n], symmetry, n, p) for n in moving} for s, p in zip(tensors, maps, strict=True)]
        total = {n: torch.stack([s[n] for s in now]).sum(0) for n in moving}
        ends: list[Maps] = []
        for s, p, here in zip(tensors, maps, now, strict=True):
            others = {n: total[n] - here[n] for n in moving}
            slopes = {g: slope(symmetry, some, g, p, s, others) for g, some in at.items()}
            ends.append(corners(symmetry, {g: assigned(x.cpu().numpy()) for g, x in slopes.items()}, like))
        step, values_there = best_step(_along(tensors, symmetry, moving, maps, ends))
        maps = [{g: torch.lerp(p[g], q[g], step) for g in p} for p, q in zip(maps, ends, strict=True)]
        values = values or [values_there[0]]
        values.append(values_there[1])
        if values[-1] - values[-2] <= _GAIN * abs(values[-1]):
            break
    rounded = [symmetry.complete({g: assigned(x.cpu().numpy()) for g, x in p.items()}) for p in maps]
    return [*rounded], [value - values[0] for value in values]


def _along(
    states: Sequence[State], symmetry: Symmetry, names: Sequence[str], start: Sequence[Maps], end: Sequence[Maps]
) -> np.ndarray:
    """Return the value at equal distances along a step, at as many points as the polynomial that it is asks for."""
    soft = {n: [[start[0].keys() & {*b.groups} for b in blocks] for blocks in symmetry.axes[n]] for n in names}
    degree = {n: sum(max(map(len, blocks), default=0) for blocks in axes) for n, axes in soft.items()}
    at = np.linspace(0, 1, 2 * max(degree.values()) + 1)
    total = np.zeros(len(at))
    for n in names:
        # each entry of a tensor is a polynomial of half the degree, and known by its values at fewer points
        groups, known = {g for blocks in soft[n] for some in blocks for g in some}, np.linspace(0, 1, degree[n] + 1)
        points = [
            torch.stack([mapped(s[n], symmetry, n, between(p, q, float(t), groups)).flatten() for t in known])
            for s, p, q in zip(states, start, end, strict=True)
        ]
        gram = (_gram(torch.stack(points).sum(0)) - sum(_gram(x) for x in points)) / 2
        basis = np.linalg.solve(np.vander(known).T, np.vander(at, len(known)).T)  # shape: (n_known, n_at)
        total += np.einsum("ia,ij,ja->a", basis, gram, basis)
    return total


def _gram(x: Tensor) -> np.ndarray:  # shape: (n_points, n_numbers)
    parts = [(part @ part.T).double() for part in torch.split(x, 2**16, dim=1)]
    products: np.ndarray = torch.stack(parts).sum(0).cpu().numpy()
    return products


def best_step(values: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return where in [0, 1] the polynomial through values at equal distances is largest, and its value at 0 and there.

    Where it is constant, that is at 0.
    """
    coefficients = np.linalg.solve(np.vander(np.linspace(0, 1, len(values)), increasing=True), values)
    coefficients[np.abs(coefficients) < 1e-12 * np.abs(values).max()] = 0
    slope_there = polynomial.polyder(polynomial.polytrim(coefficients))
    inside = [float(r.real) for r in polynomial.polyroots(slope_there) if abs(r.imag) < 1e-6 and 0 < r.real < 1]
    at = {0.0: float(values[0]), 1.0: float(values[-1])}
    at |= {t: float(polynomial.polyval(t, coefficients)) for t in inside}
    best = max(at, key=lambda t: (at[t], -t))
    return best, (at[0.0], at[best])


def value_of(matches: Sequence[Match]) -> float:
    """Return the sum of the inner products of all pairs."""
    value = 0.0
    for n in matches[0].b:
        each = [m.b[n].double() for m in matches]
        total = torch.stack(each).sum(0)
        value += float(total.square().sum() - sum(x.square().sum() for x in each)) / 2
    return value


def _compared(state: State, symmetry: Symmetry) -> list[str]:
    return [n for n in symmetry.parameters if state[n].is_floating_point()]
