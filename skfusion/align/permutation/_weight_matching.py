r"""Weight matching: the permutation under which the weights of two networks are nearest.

.. math:: \max_\pi \; \sum_i \langle \theta^A_i, (\pi \theta^B)_i \rangle
   \quad\Longleftrightarrow\quad \min_\pi \lVert \theta^A - \pi \theta^B \rVert

Group after group is moved to where it is worth most while the others rest, which is a linear assignment problem, until
no group moves. Groups are first settled outwards from the inputs and outputs, whose places are known.

References
----------
Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from skfusion.align._base import Aligner, Alignment
from skfusion.align.permutation._assign import assigned
from skfusion.align.permutation._match import Match, Term
from skfusion.align.permutation._rows import rows
from skfusion.objective import Objective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Symmetry


class WeightMatching(Aligner):
    """Bring weights as near to one another as permutations can; no data is needed.

    Parameters
    ----------
    n_restarts : int, default=0
        Further tries, from random places. More may find a better match, each at the price of the first.
    max_sweeps : int, default=100
        Passes over all groups, at most; a few are the rule.
    scaled : bool, default=False
        Whether each tensor counts by its direction only, and not by its size.
    random_state : int, default=0
        Seed of the order of the groups, and of the restarts.

    Notes
    -----
    A sweep costs the products of all weights with one another over each group, n² times the weights of a unit, and an
    assignment problem of n³ at most, for each group of n units. Three states are in memory.

    References
    ----------
    Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import WeightMatching
    >>> from skfusion.symmetry import Symmetry
    >>> axes = {"0.weight": ("hidden", None), "1.weight": (None, "hidden")}
    >>> a = {"0.weight": torch.randn(8, 3), "1.weight": torch.randn(2, 8)}
    >>> symmetry = Symmetry.of_axes(axes, a)
    >>> b = symmetry.permute(symmetry.sample(0), a)
    >>> found = WeightMatching()(b, a, symmetry)
    >>> torch.equal(symmetry.permute(found, b)["0.weight"], a["0.weight"])
    True
    """

    def __init__(self, n_restarts: int = 0, max_sweeps: int = 100, scaled: bool = False, random_state: int = 0):
        self.n_restarts = n_restarts
        self.max_sweeps = max_sweeps
        self.scaled = scaled
        self.random_state = random_state

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"n_restarts": 2, "scaled": True}

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry, objective: Objective | None = None
    ) -> Alignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        if self.n_restarts < 0 or self.max_sweeps < 1:
            raise ValueError(f"n_restarts is at least 0 and max_sweeps at least 1; got {self!r}.")
        check_compatible([reference, state])
        rng = np.random.default_rng(self.random_state)

        def tried(start: Callable[[Match], None]) -> Alignment:
            match = Match(state, reference, symmetry, self.scaled)
            history = [match.objective()]
            start(match)
            history += [match.objective(), *sweeps(match, self.max_sweeps, rng)]
            return Alignment(match.perms, history)

        with torch.no_grad():
            best = tried(anchor)
            others = [lambda match: match.move(symmetry.sample(rng)) for _ in range(self.n_restarts)]
            if best.history[-1] < best.history[0]:  # where the state is, is a better place to start from
                others.append(lambda match: None)
            for start in others:
                best = max(best, tried(start), key=lambda found: found.history[-1])
        return best


def sweeps(match: Match, max_sweeps: int, rng: np.random.Generator, at_rest: Container[str] = ()) -> Iterator[float]:
    """Move groups, but those at rest, until none moves; yield the objective after each sweep."""
    if match.is_exact():
        yield match.objective()
        return
    tensors = {g: {*match.tensors_of([g, *match.inner[g]])} for g in match.groups}
    near = {g: [h for h in match.groups if h != g and tensors[g] & tensors[h]] for g in match.groups}
    names = [g for g in match.groups if g not in at_rest]
    waiting = {*names}
    for _ in range(max_sweeps):
        progress = False
        for i in rng.permutation(len(names)):
            if names[i] in waiting:
                waiting.discard(names[i])
                if match.step(names[i]):
                    progress = True
                    waiting.update(h for h in near[names[i]] if h not in at_rest)
        yield match.objective()
        if not progress:
            return


def anchor(match: Match, at_rest: Iterable[str] = ()) -> None:
    """Settle groups outwards from the pinned axes: of those left, always the one whose weights are settled most.

    A tensor counts where its other axes are settled. Where no tensor does, units are compared by their sorted weights,
    which do not depend on the order of what is not settled.
    """
    settled = {*at_rest}
    left = [g.name for g in match.groups.values() if not g.context and g.name not in settled]

    def is_settled(name: str, term: Term) -> bool:
        own = {name, *match.inner[name]}
        return all(
            g in settled or (g in own and block is term.block) or g in match.inner[name]
            for blocks in match.symmetry.axes[term.tensor]
            for block in blocks
            for g in block.groups
        )

    def share(name: str) -> tuple[float, float]:
        sizes = [(match.a[t.tensor].numel(), is_settled(name, t)) for t in match.terms[name]]
        known = sum(n for n, ok in sizes if ok)
        return known / max(1, sum(n for n, _ in sizes)), known

    while left:
        name = max(left, key=share)
        left.remove(name)
        if match.inner[name] or share(name)[1]:
            match.step(name, partial(is_settled, name))
        else:
            match.move({name: assigned(-_distances(match, name))})
        settled |= {name, *match.inner[name]}


def _distances(match: Match, name: str) -> np.ndarray:
    """Return the squared distances of the sorted weights of units."""
    total = np.zeros((match.groups[name].size,) * 2)
    for t in match.terms[name]:
        axes = match.symmetry.axes[t.tensor]
        a, b = (rows(x[t.tensor], axes, t.axis, t.block, [name]).sort(-1).values.double() for x in (match.a, match.b))
        total += match.scale[t.tensor] * torch.cdist(a, b).square().cpu().numpy()
    return total
