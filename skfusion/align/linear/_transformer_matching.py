"""Transformer matching: rotations of streams, maps within heads, and units are matched by weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from skfusion._numbers import wide
from skfusion.align._base import Aligner, Alignment, given_symmetry
from skfusion.align.linear._alignment import LinearAlignment
from skfusion.align.linear._linear_match import LinearMatch
from skfusion.align.permutation._weight_matching import anchor, sweeps
from skfusion.objective import Objective
from skfusion.state import State, check_compatible, map_tensors
from skfusion.symmetry import Symmetry, canonicalise


class TransformerMatching(Aligner):
    r"""Match transformers by their weights, under all linear symmetries that their architecture has.

    .. math:: \max_{g} \; \langle N(\theta^A), \, g N(\theta^B) \rangle

    N is the canonical form, see :func:`skfusion.symmetry.canonicalise`, and g runs over rotations of the residual
    stream, permutations of heads, rotations of queries and keys, and of values and outputs, within each head, and
    permutations of the hidden units of the layers between. One after the other is moved to where it matches best: by
    orthogonal Procrustes, by assignment, and heads by assignment with the value that each pair has under its best
    rotation. The members keep their architecture. Both move: the mean is that of the aligned state and the canonical
    form of the reference, which is what ``align_all`` returns for the first state.

    Parameters
    ----------
    max_sweeps : int, default=100
        Passes over all groups, at most. More match better, by less and less.
    random_state : int, default=0
        Seed of the order of the groups.

    Notes
    -----
    A sweep costs, for a stream of width d, d³, and for each of H heads of width m and H others m³, and an assignment
    problem for each layer of units. The symmetry must be found with ``general=True``; any network can be given, and
    where it has permutations only, this is :class:`WeightMatching`. What a network has no symmetry for is named in the
    ``notes`` of its symmetry: under LayerNorm, for instance, embeddings that are tied to the output layer keep the gain
    of the last norm from being folded, and the stream from being rotated.

    References
    ----------
    Theus et al., "Generalized linear mode connectivity for transformers", NeurIPS 2025, arXiv:2506.22712 (the
    symmetries; it replaces heads by their circuits, which leaves the architecture). Ashkboos et al., "SliceGPT", ICLR
    2024, arXiv:2401.15024 (rotations of the stream). Schönemann, "A generalized solution of the orthogonal Procrustes
    problem", Psychometrika 31, 1966.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.align import TransformerMatching
    >>> from skfusion.state import distance
    >>> from skfusion.symmetry import canonicalise
    >>> from skfusion.tracing import symmetry_of
    >>> _ = torch.manual_seed(0)
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    >>> net = nn.Sequential(nn.Linear(3, 8), layer, nn.LayerNorm(8), nn.Linear(8, 2)).double().eval()
    >>> symmetry = symmetry_of(net, torch.randn(4, 5, 3, dtype=torch.float64), general=True)
    >>> a = canonicalise(net.state_dict(), symmetry)
    >>> b = symmetry.linear.transform(symmetry.linear.sample(0), a)
    >>> alignment = TransformerMatching()(b, a, symmetry)
    >>> distance(b, a) > 1, distance(alignment.apply(b), a) < 1e-6
    (True, True)
    """

    needs_general = True
    _test_sets = ({}, {"max_sweeps": 5})

    def __init__(self, max_sweeps: int = 100, random_state: int = 0):
        self.max_sweeps = max_sweeps
        self.random_state = random_state

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> LinearAlignment:
        """Return the alignment with the canonical form of ``reference``; see :meth:`Aligner.__call__`."""
        symmetry = self._given(symmetry)
        check_compatible([reference, state])
        a, b = (canonicalise(map_tensors(wide, s), symmetry) for s in (reference, state))
        with torch.no_grad():
            best = self._matched(b, a, symmetry, start=True)
            if best.history[-1] < best.history[0]:  # the state as it is matches better, so start from there too
                other = self._matched(b, a, symmetry, start=False)
                best = max(best, other, key=lambda alignment: alignment.history[-1])
        return best

    def align_all(
        self, states: Sequence[State], symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> list[Alignment]:
        """Return an alignment for each state, of the first one to its canonical form; see :meth:`Aligner.align_all`."""
        symmetry = self._given(symmetry)
        first, *others = states
        unmoved = LinearAlignment(symmetry.identity(), {}, symmetry)
        return [unmoved, *(self(state, first, symmetry, objective) for state in others)]

    def _given(self, symmetry: Symmetry | None) -> Symmetry:
        symmetry = given_symmetry(self, symmetry)
        if self.max_sweeps < 1:
            raise ValueError(f"max_sweeps is at least 1; got {self!r}.")
        if symmetry.linear is None:
            raise ValueError(
                f"{self!r} needs more than permutations: give "
                "symmetry=skfusion.tracing.symmetry_of(module, example_inputs, general=True)."
            )
        return symmetry

    def _matched(self, b: State, a: State, symmetry: Symmetry, start: bool) -> LinearAlignment:
        work = LinearMatch(b, a, symmetry)
        match, rng = work.match, np.random.default_rng(self.random_state)
        history = [match.objective()]
        if all(torch.equal(match.a[n], match.b[n]) for n in match.a):
            return LinearAlignment(match.perms, {}, symmetry, history)
        if start:
            for name in work.streams:
                work.start_stream(name)
            work.start_signed()
            anchor(match, [*work.streams, *work.signed])
            history.append(match.objective())
        for _ in range(self.max_sweeps):
            moved = [work.step_heads(name) for name in work.outer] + [work.step_stream(name) for name in work.streams]
            moved += [work.step_signed(name) for name in work.signed]
            history += sweeps(match, self.max_sweeps, rng, work.mapped)
            if not any(moved) and history[-1] <= history[-2] * (1 + 1e-9):
                break
        return LinearAlignment(match.perms, work.maps, symmetry, history)
