"""Weight matching: the permutation under which the weights of two networks are nearest (git re-basin)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial

import numpy as np
import torch

from skfusion._coupling import assigned
from skfusion.align._base import Aligner, PermutationAlignment, given_symmetry
from skfusion.align.permutation._match import Match, Term
from skfusion.align.permutation._rows import rows
from skfusion.objective import Objective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Symmetry


class WeightMatching(Aligner):
    r"""Match units by their weights, as git re-basin does; no data is needed.

    .. math:: \max_\pi \; \sum_i \langle \theta^A_i, (\pi \theta^B)_i \rangle
       \quad\Longleftrightarrow\quad \min_\pi \lVert \theta^A - \pi \theta^B \rVert

    One group of units after another is moved to where it matches best while the others stay, which is a linear
    assignment problem, until no group moves. The start is found outwards from the inputs and outputs, whose units stay.

    Parameters
    ----------
    n_restarts : int, default=0
        Further starts, from random permutations. More may find a better match; each costs as much as the first.
    max_sweeps : int, default=100
        Passes over all groups, at most; a few are usual.
    scaled : bool, default=False
        Whether each tensor counts by its direction only, and not by its norm.
    random_state : int, default=0
        Seed of the order of the groups, and of the restarts.

    Notes
    -----
    For each group of n units a sweep costs n² times the number of weights of a unit, and an assignment problem of at
    most n³ steps. Where units are near their partners, as in copies, noisy copies and networks of a common origin, a
    sample of their weights shows that no other assignment can be better, and a sweep costs a few passes over the
    weights. Three states are in memory.

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
    >>> alignment = WeightMatching()(b, a, symmetry)
    >>> torch.equal(alignment.apply(b)["0.weight"], a["0.weight"])
    True
    """

    _test_sets = ({}, {"n_restarts": 2, "scaled": True})

    def __init__(self, n_restarts: int = 0, max_sweeps: int = 100, scaled: bool = False, random_state: int = 0):
        self.n_restarts = n_restarts
        self.max_sweeps = max_sweeps
        self.scaled = scaled
        self.random_state = random_state

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        if self.n_restarts < 0 or self.max_sweeps < 1:
            raise ValueError(f"n_restarts is at least 0 and max_sweeps at least 1; got {self!r}.")
        check_compatible([reference, state])
        rng = np.random.default_rng(self.random_state)

        def matched_from(start: Callable[[Match], None]) -> PermutationAlignment:
            match = Match(state, reference, symmetry, self.scaled)
            history = [match.objective()]
            start(match)
            history += [match.objective(), *sweeps(match, self.max_sweeps, rng)]
            return PermutationAlignment(match.perms, symmetry, history)

        with torch.no_grad():
            best = matched_from(anchor)
            others = [lambda match: match.move(symmetry.sample(rng)) for _ in range(self.n_restarts)]
            if best.history[-1] < best.history[0]:  # the state as it is matches better, so start from there too
                others.append(lambda match: None)
            for start in others:
                best = max(best, matched_from(start), key=lambda alignment: alignment.history[-1])
        return best


def sweeps(match: Match, max_sweeps: int, rng: np.random.Generator, at_rest: Container[str] = ()) -> Iterator[float]:
    """Move groups until none moves, except those at rest; yield the objective after each sweep."""
    if all(torch.equal(match.a[n], match.b[n]) for n in match.a):  # no permutation is better
        yield match.objective()
        return
    tensors = {g: {*match.tensors_of([g, *match.inner[g]])} for g in match.groups}
    near = {g: [h for h in match.groups if h != g and tensors[g] & tensors[h]] for g in match.groups}
    names = [g for g in match.groups if g not in at_rest]
    waiting = {*names}  # groups for which something has changed since they were tried
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
    """Match groups outwards from the axes that cannot move, always the one with the largest share of usable weights.

    Weights are usable where all other axes of their tensor are settled, since only then do the entries of two units
    belong together. Where a group has none, its units are compared by their sorted weights, which do not depend on the
    order of the other units.
    """
    settled = {*at_rest}
    left = [g.name for g in match.groups.values() if not g.context and g.name not in settled]

    def is_settled(name: str, term: Term) -> bool:
        together = {name, *match.inner[name]}
        return all(
            g in settled or (g in together and block is term.block) or g in match.inner[name]
            for axis, blocks in enumerate(match.symmetry.axes[term.tensor])
            for block in (blocks if axis != term.axis else [term.block])  # others on its axis hold other weights
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
    """Return the squared distances between the sorted weights of units."""
    total = np.zeros((match.groups[name].size,) * 2)
    for t in match.terms[name]:
        axes = match.symmetry.axes[t.tensor]
        a, b = (rows(x[t.tensor], axes, t.axis, t.block, [name]).sort(-1).values.double() for x in (match.a, match.b))
        total += match.scale[t.tensor] * torch.cdist(a, b).square().cpu().numpy()
    return total
