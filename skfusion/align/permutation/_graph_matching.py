"""Graph matching: networks are graphs of units, whose edges are compared by a kernel (GAMF, Liu et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skfusion._coupling import assigned
from skfusion.align._base import Aligner, PermutationAlignment, given_symmetry
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._soft import places, slope, soft_groups
from skfusion.align.permutation._weight_matching import WeightMatching, sweeps
from skfusion.objective import Objective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Permutations, Symmetry

_MAX_SWEEPS = 100
_COLDEST, _COOLING = 0.02, 0.8
_N_SINKHORN = 20
_FINE, _SPACING, _REACH = 1e-4, 0.3, 3.0
"""Share of the largest eigenvalue below which features of the kernel are left out, how far points are apart, and how
far from all numbers there are none: numbers at such a distance are as different as any."""
_MOST = 1000
"""Points at most, as the number of features is near to it."""


class GraphMatching(Aligner):
    r"""Match the units of two networks as the nodes of two graphs, by graduated assignment (GAMF).

    Units are nodes and weights are edges. Of all permutations, those of inputs and outputs being the identity, one is
    looked for under which as many edges as possible are nearly equal:

    .. math:: \max_P \; \sum_{ij, ab} P_{ij} \, K_{ij, ab} \, P_{ab}, \qquad
       K_{ij, ab} = \exp\big(-(\theta^A_{ia} - \theta^B_{jb})^2 / (\sigma s^2)\big)

    where :math:`s^2` is the mean square of the weights of a tensor. P begins undecided and layer after layer is set to
    what its neighbours ask for, first softly, then ever more strictly, and is improved one group at a time in the end.

    Parameters
    ----------
    bandwidth : float, default=1.0
        :math:`\sigma`. With a large one the sum is that of :class:`WeightMatching`; with a small one only weights that
        are nearly equal count, and those that differ much do not matter.
    temperature : float, default=1.0
        How soft the assignment is at first, in units of the spread of what the neighbours ask for. It falls by a fifth
        each round.
    random_state : int, default=0
        Seed of the order of the groups in the end.

    Notes
    -----
    The matrix K, with n⁴ entries for two layers of n units, is never made: the kernel of two numbers is a sum over R
    products of functions of one, about 10 to 30 for an error of 1e-4, so that a round costs R times what a sweep of
    :class:`WeightMatching` does. 2 R + 2 states are in memory. The edge between two channels of a convolution has
    several weights, which count as separate edges.

    Graduated assignment is a heuristic. The permutations of :class:`WeightMatching` are improved in the same way, and
    the better ones by the sum above are returned. ``history`` has this sum at first, after the graduated assignment,
    and in the end, as a share of all edges.

    References
    ----------
    Liu, Lou, Wang, Xi, Shi and Yan, "Deep neural network fusion via graph matching with applications to model ensemble
    and federated learning", ICML 2022. Gold and Rangarajan, "A graduated assignment algorithm for graph matching", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 18(4), 1996, doi:10.1109/34.491619.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import GraphMatching
    >>> from skfusion.symmetry import Symmetry
    >>> a = {"0.weight": torch.randn(8, 3), "1.weight": torch.randn(2, 8)}
    >>> symmetry = Symmetry.of_axes({"0.weight": ("hidden", None), "1.weight": (None, "hidden")}, a)
    >>> b = symmetry.permute(symmetry.sample(0), a)
    >>> alignment = GraphMatching()(b, a, symmetry)
    >>> torch.equal(alignment.apply(b)["0.weight"], a["0.weight"])
    True
    >>> round(alignment.history[-1], 3)  # all edges are equal
    1.0
    """

    _test_sets = ({}, {"bandwidth": 0.1, "temperature": 0.5})

    def __init__(self, bandwidth: float = 1.0, temperature: float = 1.0, random_state: int = 0):
        self.bandwidth = bandwidth
        self.temperature = temperature
        self.random_state = random_state

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        if not all(math.isfinite(v) and v > 0 for v in (self.bandwidth, self.temperature)):
            raise ValueError(f"bandwidth and temperature must be finite and above 0; got {self!r}.")
        check_compatible([reference, state])
        rng = np.random.default_rng(self.random_state)
        with torch.no_grad():
            a, b = featured(reference, state, symmetry, self.bandwidth)
            if not a:
                return PermutationAlignment(symmetry.identity(), symmetry)
            edges = with_features(symmetry, a)
            n_edges = max(1, sum(x[..., 0].numel() for x in a.values()))
            near = WeightMatching(random_state=self.random_state)(state, reference, symmetry)
            best: Permutations = symmetry.identity()
            history = [Match(b, a, edges).objective() / n_edges]
            value = history[0]
            for start in (self._graduated(a, b, edges, near), {**near}):
                match = Match(edges.permute(start, b), a, edges)
                history.append(match.objective() / n_edges)
                [*sweeps(match, _MAX_SWEEPS, rng)]
                reached = match.objective() / n_edges
                if reached > value * (1 + 1e-9):
                    best, value = edges.compose(start, match.perms), reached
        return PermutationAlignment(best, symmetry, [history[0], history[1], value])

    def _graduated(self, a: State, b: State, symmetry: Symmetry, near: Permutations) -> Permutations:
        """Return permutations by a graduated assignment; groups that have no matrix are where they are near."""
        soft = soft_groups(symmetry)
        fixed = {g: near[g] for g in symmetry.groups if g not in soft}
        b = symmetry.permute(fixed, b)
        at = places(symmetry, a)
        like = next(iter(a.values()))
        sizes = {g: symmetry.groups[g].size for g in soft}
        maps = {g: like.new_full((n, n), 1 / n) for g, n in sizes.items()}
        heat = self.temperature
        while True:
            for g in soft:
                wanted = slope(symmetry, at[g], g, maps, b, a)
                spread = float(wanted.std(correction=0))
                maps[g] = sinkhorn((wanted - wanted.max()) / (max(spread, 1e-30) * heat), _N_SINKHORN)
            if heat <= _COLDEST:
                return {**fixed, **{g: assigned(p.cpu().numpy()) for g, p in maps.items()}}
            heat = max(heat * _COOLING, _COLDEST)


def sinkhorn(logits: Tensor, n_iterations: int) -> Tensor:
    """Return exp(logits) with its rows and columns scaled until their sums are one, nearly; shape (n, n)."""
    for _ in range(n_iterations):
        logits = logits - logits.logsumexp(0, keepdim=True)
        logits = logits - logits.logsumexp(1, keepdim=True)
    return logits.exp()


def featured(reference: State, state: State, symmetry: Symmetry, bandwidth: float) -> tuple[State, State]:
    """Return two states with features in the place of numbers, along a new last axis; their products are the kernel."""
    plain = Match(state, reference, symmetry)
    a: State = {}
    b: State = {}
    for n in plain.a:
        x, y = plain.a[n], plain.b[n]
        scale = float((x.double().square().mean() + y.double().square().mean()) / 2)
        width = math.sqrt(bandwidth * scale) or 1.0
        points = points_near(torch.cat([x.flatten(), y.flatten()]) / width)
        if len(points) > _MOST:
            raise ValueError(
                f"bandwidth={bandwidth} is too small for the weights of {n!r}, which lie {len(points) * _SPACING:.0f} "
                f"widths of the kernel wide, and at most {_MOST * _SPACING:.0f} can be told apart: give a larger one."
            )
        lift = features(points)
        a[n], b[n] = lift(x / width), lift(y / width)
    return a, b


def points_near(numbers: Tensor) -> Tensor:
    """Return points at equal distances between the least and the largest number, without those that are far from all.

    So a few weights that have gone astray cost a few points, and not a grid up to where they are.
    """
    x = numbers.double().cpu().numpy()
    low, wide = float(x.min()), float(x.max() - x.min())
    n = 1 + math.ceil(wide / _SPACING)
    step = wide / (n - 1) if n > 1 else 1.0
    reach = math.ceil(_REACH / _SPACING)
    near = np.unique(np.round((x - low) / step).astype(np.int64))[:, None] + np.arange(-reach, reach + 1)
    return torch.from_numpy(low + np.unique(near.clip(0, n - 1)) * step)


def features(points: Tensor) -> Callable[[Tensor], Tensor]:
    r"""Return a map of numbers to vectors whose inner products are :math:`\exp(-(x - y)^2)`, nearly, about some points.

    It is the kernel to these points, in the basis of the eigenvectors of the kernel of the points themselves (Nyström's
    method).
    """
    values, vectors = torch.linalg.eigh(_kernel(points, points))
    kept = values > _FINE * values[-1]
    basis = vectors[:, kept] / values[kept].sqrt()

    def lift(x: Tensor) -> Tensor:
        lifted: Tensor = _kernel(x, points.to(x)) @ basis.to(x)
        return lifted

    return lift


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return torch.exp(-(x.unsqueeze(-1) - y).square())


def with_features(symmetry: Symmetry, states: State) -> Symmetry:
    """Return the symmetry of some tensors that have a further axis, which does not move."""
    axes = {n: (*symmetry.axes[n], ()) for n in states}
    return Symmetry(symmetry.groups.values(), axes, {n: tuple(t.shape) for n, t in states.items()})
