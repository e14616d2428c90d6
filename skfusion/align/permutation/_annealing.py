"""Simulated annealing: permutations are searched by random exchanges of two units (Entezari et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from skfusion.align._base import Aligner, PermutationAlignment, given_symmetry
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._weight_matching import WeightMatching
from skfusion.objective import Objective
from skfusion.state import State, check_compatible, distance, weighted_sum
from skfusion.symmetry import Permutations, Symmetry

_ENERGIES = ("distance", "loss", "score")
_N_TRIED = 50
"""Exchanges by which the unit of the temperature is measured."""
_N_NOTED = 20


class Annealing(Aligner):
    r"""Search the permutations of lowest energy by random exchanges of two units (simulated annealing).

    An exchange that changes the energy by :math:`\Delta` is kept with the probability

    .. math:: \min\big(1, \exp(-\Delta / (T s))\big)

    where s is the mean size of the change by a random exchange at the start, and T falls exponentially. The state of
    the lowest energy that was seen is returned.

    Parameters
    ----------
    energy : {"distance", "loss", "score"}, default="distance"
        What is lowered: the squared distance of the weights, which needs no data, or the held-out loss or negative
        held-out score of the mean of the two networks.
    n_steps : int, default=2000
        Exchanges that are tried. More find lower energies.
    hottest, coldest : float, default=0.1 and 0.001
        T at first and at last. A larger one leaves the start further behind, as it keeps worse exchanges.
    random_state : int, default=0
        Seed of the exchanges.

    Notes
    -----
    A step costs O(d) for the d weights of the tensors that move, and an evaluation of a network on all held-out rows
    where the energy is a loss or score: choose few rows. Three states are in memory.

    The start is that of :class:`WeightMatching`, from which single exchanges seldom lead further down in wide
    networks; a copy of the reference is brought back to it, and nothing is searched. The authors start from the units
    as they are, exchange two units in every layer at once, and take temperatures of 25 000 to 2.5 for energies
    between 0 and 1, at which almost every exchange is kept: a random walk. ``history`` has the negative energy of the
    units as they are, at the start, and then the best so far.

    The loss and the score are those of the mean as it is. Estimators re-estimate the statistics of its BatchNorm
    layers, if it has any, before it is judged. Where rows of few samples are held out, permutations fit them too well.

    References
    ----------
    Entezari, Sedghi, Saukh and Neyshabur, "The role of permutation invariance in linear mode connectivity of neural
    networks", ICLR 2022, arXiv:2110.06296. Kirkpatrick, Gelatt and Vecchi, "Optimization by simulated annealing",
    Science 220, 1983, doi:10.1126/science.220.4598.671.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import Annealing
    >>> from skfusion.symmetry import Symmetry
    >>> a, b = ({"0.weight": torch.randn(8, 3), "1.weight": torch.randn(2, 8)} for _ in range(2))
    >>> symmetry = Symmetry.of_axes({"0.weight": ("hidden", None), "1.weight": (None, "hidden")}, a)
    >>> alignment = Annealing(n_steps=200)(b, a, symmetry)
    >>> alignment.history[-1] >= alignment.history[0]  # the negative energy
    True
    """

    _test_sets = (
        {"n_steps": 100},
        {"energy": "loss", "n_steps": 30},
        {"energy": "score", "n_steps": 20, "hottest": 1.0},
    )

    def __init__(
        self,
        energy: str = "distance",
        n_steps: int = 2000,
        hottest: float = 0.1,
        coldest: float = 0.001,
        random_state: int = 0,
    ):
        self.energy = energy
        self.n_steps = n_steps
        self.hottest = hottest
        self.coldest = coldest
        self.random_state = random_state

    @property
    def needs_objective(self) -> bool:  # type: ignore[override]
        """Whether the energy is a loss or a score."""
        return self.energy != "distance"

    needs_labels = needs_objective

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        self._check(objective)
        check_compatible([reference, state])
        start = WeightMatching(random_state=self.random_state)(state, reference, symmetry)
        moved = start.apply(state)
        if not symmetry.groups or distance(moved, reference) == 0:
            return start
        with torch.no_grad():
            first = self._walk(state, reference, symmetry, objective).energy
            walk = self._walk(moved, reference, symmetry, objective)
            noted = self._search(walk)
        return PermutationAlignment(symmetry.compose(start, walk.best), symmetry, [-first, *(-e for e in noted)])

    def _check(self, objective: Objective | None) -> None:
        if self.energy not in _ENERGIES:
            raise ValueError(f"energy must be one of {[*_ENERGIES]}; got {self.energy!r}.")
        if self.n_steps < 0 or not 0 < self.coldest <= self.hottest < math.inf:
            raise ValueError(f"n_steps is at least 0, coldest above 0 and at most hottest; got {self!r}.")
        if self.needs_objective and objective is None:
            raise ValueError(f"{self!r} judges networks on data: give an objective, or take energy='distance'.")

    def _walk(self, state: State, reference: State, symmetry: Symmetry, objective: Objective | None) -> Walk:
        if self.energy == "distance" or objective is None:
            return Walk(state, reference, symmetry)
        if self.energy == "loss":
            return Judged(state, reference, symmetry, objective.loss)
        return Judged(state, reference, symmetry, lambda s: -objective.score(s))

    def _search(self, walk: Walk) -> list[float]:
        """Anneal, and return the energy at the start and then the lowest so far."""
        rng = np.random.default_rng(self.random_state)
        noted = [walk.energy]
        changes = []
        for _ in range(min(_N_TRIED, self.n_steps)):
            changes.append(abs(walk.change(walk.exchange(rng))))
            walk.take_back()
        sizes = [c for c in changes if math.isfinite(c)]
        unit = float(np.mean(sizes)) if sizes else 0.0
        for k in range(self.n_steps):
            heat = unit * self.hottest * (self.coldest / self.hottest) ** (k / max(1, self.n_steps - 1))
            change = walk.change(walk.exchange(rng))
            if change <= 0 or (heat > 0 and rng.random() < math.exp(-change / heat)):
                walk.keep(change)
            else:
                walk.take_back()
            if (k + 1) % max(1, self.n_steps // _N_NOTED) == 0:
                noted.append(walk.lowest)
        return [*noted, walk.lowest]


class Walk:
    """A state that is exchanged unit by unit, with its squared distance from a reference as the energy."""

    def __init__(self, state: State, reference: State, symmetry: Symmetry):
        self.match = Match(state, reference, symmetry)
        self._products = {n: self.match.objective([n]) for n in self.match.a}
        both = [*self.match.a.values(), *self.match.b.values()]
        squares = sum(float(t.double().square().sum()) for t in both)
        self.energy = self.lowest = squares - 2 * sum(self._products.values())
        self.best: Permutations = self.match.perms
        groups = [g for g in symmetry.groups.values() if g.size > 1]
        self._groups = groups
        sizes = np.array([symmetry.identity()[g.name].size for g in groups], float)
        self._shares = sizes / sizes.sum() if groups else sizes
        self._kept: tuple[State, Permutations] = self.match.b, self.match.perms

    def exchange(self, rng: np.random.Generator) -> Permutations:
        """Return the exchange of two random units of a group; in a group of more units it is more often."""
        if not self._groups:
            return {}
        group = self._groups[rng.choice(len(self._groups), p=self._shares)]
        delta = self.match.symmetry.identity()[group.name]
        rows = delta.reshape(-1, group.size)
        i, j = rng.choice(group.size, 2, replace=False)
        rows[rng.integers(len(rows)), [i, j]] = j, i
        return {group.name: delta}

    def change(self, delta: Permutations) -> float:
        """Exchange units, and return by how much the energy rises."""
        self._kept = dict(self.match.b), self.match.perms
        self.match.move(delta)
        return self._change(delta)

    def _change(self, delta: Permutations) -> float:
        self._fresh = {n: self.match.objective([n]) for n in self.match.tensors_of(delta)}
        return 2 * sum(self._products[n] - value for n, value in self._fresh.items())

    def take_back(self) -> None:
        """Undo the last exchange."""
        self.match.b, self.match.perms = self._kept

    def keep(self, change: float) -> None:
        """Keep the last exchange, which has raised the energy by so much."""
        self._products.update(self._fresh)
        self.energy += change
        self._note()

    def _note(self) -> None:
        if self.energy < self.lowest:
            self.lowest, self.best = self.energy, self.match.perms


class Judged(Walk):
    """A state that is exchanged unit by unit, with an energy of its mean with a reference."""

    def __init__(self, state: State, reference: State, symmetry: Symmetry, energy: Callable[[State], float]):
        super().__init__(state, reference, symmetry)
        self._state, self._reference, self._of = state, reference, energy
        self.energy = self.lowest = self._now()

    def _now(self) -> float:
        moved = self.match.symmetry.permute(self.match.perms, self._state)
        value = float(self._of(weighted_sum([self._reference, moved], [0.5, 0.5])))
        return math.inf if math.isnan(value) else value

    def _change(self, delta: Permutations) -> float:
        self._energy = self._now()
        return self._energy - self.energy

    def keep(self, change: float) -> None:
        self.energy = self._energy
        self._note()
