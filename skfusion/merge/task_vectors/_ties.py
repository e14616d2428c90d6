"""TIES: trim, elect signs, merge those that agree (Yadav et al., 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from skfusion.merge._base import OnGrid, factors, one_each
from skfusion.merge._tensorwise import Entry, TensorMerger, base_of, task_vectors

_DIGIT = 16
"""Bits of a magnitude that one pass over the tensors looks at."""
_AT_HAND = 2**20
"""Numbers that may be held in memory to end the search for a threshold."""


_GRID = tuple(k / 10 for k in range(21))
"""From 0 to 2 in steps of 0.1; the authors try 0.8 to 1.8."""


@dataclass(eq=False, repr=False)
class TIES(OnGrid, TensorMerger):
    r"""Average the large changes that agree in sign.

    Of each member's change :math:`\tau_k = \theta_k - \theta_0` the largest numbers are kept; the signs of each
    number's changes are put to the vote of their sizes; and those of the elected sign are averaged:

    .. math:: \hat\tau_k = \tau_k \, [\,|\tau_k| \ge c_k\,], \qquad
        \gamma = \operatorname{sign} \sum_k w_k \hat\tau_k, \qquad
        \theta = \theta_0 + \lambda \,
        \frac{\sum_k w_k \hat\tau_k \, [\gamma w_k \hat\tau_k > 0]}{\sum_k |w_k| \, [\gamma w_k \hat\tau_k > 0]}

    with :math:`c_k` the ``density`` d-th largest :math:`|\tau_k|` of the d parameters in tensors that some member has
    changed, and no change where none agrees.

    Parameters
    ----------
    density : float or sequence of float, default=0.2
        Share of the numbers of each member's change that is kept, in (0, 1]; one for all, or one for each of the K
        members. A larger value keeps more small changes.
    scale : float or None, default=1.0
        The factor λ of the merged change. A larger value goes further from the base. None takes the value of the grid
        with the highest held-out score.
    weights : float or sequence of float, optional
        What each member counts in the vote and in the mean, shape (K,). A larger value brings more of that member; 0
        leaves it out, and a negative value turns its change round. All 1 when omitted.
    grid : sequence of float, default=(0, 0.1, ..., 2)
        The values that are tried where ``scale`` is None; the first one of equal scores is taken.

    Notes
    -----
    Costs O(K d), and where the scale is chosen, as much again and an evaluation for each value of the grid; it is then
    reported as ``scale``, and all scores as ``scale_scores``. The thresholds are exact, and take two or three
    passes over the tensors, four at most, with some megabytes of memory for any d. Numbers as large as the threshold
    are all kept; the authors' code keeps one number more. Tensors that are frozen in all members do not count as
    parameters here, as with the adapters of the paper; in its code they do where they are part of the state, and let
    more changes through. Where the vote is a tie, up to rounding, the base stays; the authors' code elects the sign
    that most other numbers have, and a minus where that is a tie, too, so that it merges 2 and -2 to -2. FusionBench
    sums in the place of the mean, with a scale of 0.3: that is another estimator, which goes twice as far where two
    members agree.

    References
    ----------
    Yadav et al., "TIES-Merging: resolving interference when merging models", NeurIPS 2023, arXiv:2306.01708.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import TIES
    >>> base = {"w": torch.zeros(4)}
    >>> states = [{"w": torch.tensor([4.0, 3.0, 1.0, 0.0])}, {"w": torch.tensor([2.0, -5.0, 0.0, 1.0])}]
    >>> TIES(density=0.5)(states, base)["w"].tolist()
    [3.0, -5.0, 0.0, 0.0]
    """

    density: float | Sequence[float] = 0.2
    scale: float | None = 1.0
    weights: float | Sequence[float] | None = None
    grid: Sequence[float] = _GRID

    needs_base: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    why_copies_change: ClassVar[str] = "small changes are cut off, those of a single member too"

    def n_surveys(self, size: int) -> int:
        """Return how often thresholds look at all numbers, as a rule; see :meth:`TensorMerger.n_surveys`."""
        # Leading bits first, which about one number in 32 shares; then more of them, until those that do are few.
        return 2 if size < 32 * _AT_HAND else 3

    def survey(self, read: Callable[[], Iterable[Entry]], n: int) -> list[float]:
        """Return the threshold of each member; see :meth:`TensorMerger.survey`."""
        densities = one_each("TIES", "density", self.density, n)
        if not all(0 < density <= 1 for density in densities):
            raise ValueError(f"The density of TIES is a share of the numbers, in (0, 1]; got {self.density}.")
        weights = factors("TIES", self.weights, n)
        self._number()

        def parts() -> Iterator[tuple[str, list[Tensor]]]:
            for entry in read():
                vectors = zip(weights, task_vectors(entry), strict=True)
                yield entry.name, [tau if w else torch.zeros_like(tau) for w, tau in vectors]

        return thresholds(parts, n, densities)

    def tensor(self, entry: Entry, known: Any) -> Tensor:
        """Return the base and the scaled mean of the changes that agree; see :meth:`TensorMerger.tensor`."""
        weights = factors("TIES", self.weights, len(entry.tensors))
        vectors = [w * trimmed(tau, c) for w, tau, c in zip(weights, task_vectors(entry), known, strict=True)]
        scale: float = self._number()
        return base_of(entry) + scale * disjoint_mean(vectors, elected(vectors), weights)


def trimmed(tau: Tensor, threshold: float) -> Tensor:
    """Return the numbers of a change that are at least as large as a threshold, and zeros for others."""
    return torch.where(tau.abs() >= threshold, tau, 0.0)


def elected(vectors: Sequence[Tensor]) -> Tensor:
    """Return the sign with the larger sum of sizes, number by number: -1, 1, or 0 where there is a tie.

    Sums that differ by no more than their rounding are a tie, so that the order of the members has no influence.
    """
    total, size = torch.zeros_like(vectors[0]), torch.zeros_like(vectors[0])
    for tau in vectors:
        total += tau
        size += tau.abs()
    tie = total.abs() <= len(vectors) * torch.finfo(size.dtype).eps * size
    return torch.where(tie, 0.0, total.sign())


def disjoint_mean(vectors: Sequence[Tensor], sign: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Return the mean of those changes that have the given sign, number by number; 0 where none has.

    Where there are weights, the changes have been multiplied by them already.
    """
    total, count = torch.zeros_like(sign), torch.zeros_like(sign)
    for tau, weight in zip(vectors, weights or [1.0] * len(vectors), strict=True):
        agrees = tau * sign > 0
        total += torch.where(agrees, tau, 0.0)
        count += abs(weight) * agrees
    return torch.where(count > 0, total / count, 0.0)


def thresholds(
    read: Callable[[], Iterable[tuple[str, Sequence[Tensor]]]], n: int, density: float | Sequence[float]
) -> list[float]:
    """Return the ``density`` d-th largest size of each of n vectors of d numbers, exactly and in little memory.

    ``read()`` iterates over parts of the vectors, with the name of their tensor; those that are 0 in all do not count.
    """
    sizes: dict[str, int] = {}
    changed: set[str] = set()

    def counted() -> Iterator[Sequence[Tensor]]:
        for name, vectors in read():
            sizes[name] = sizes.get(name, 0) + vectors[0].numel()
            if name not in changed and any(bool(tau.any()) for tau in vectors):
                changed.add(name)
            yield vectors

    def parts() -> Iterator[Sequence[Tensor]]:
        return (vectors for _, vectors in read())

    densities = one_each("TIES", "density", density, n)
    known, rank = [0] * n, [0] * n  # leading bits of the threshold; its place among the numbers that share them
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        counts = torch.zeros(n, 2**_DIGIT, dtype=torch.int64)
        for k, bits in _sharing(parts if sizes else counted, known, shift + _DIGIT):
            digits = (bits >> shift) & (2**_DIGIT - 1)
            counts[k] += torch.bincount(digits, minlength=2**_DIGIT).cpu()
        left = 0
        for k, row in enumerate(counts):
            rank[k] = rank[k] or max(1, round(densities[k] * sum(sizes[name] for name in changed)))
            above = row.flip(0).cumsum(0)
            place = int(torch.searchsorted(above, rank[k]))
            if place == len(above):
                return [0.0] * n  # there are no numbers at all
            digit = len(above) - 1 - place
            rank[k] -= int(above[place] - row[digit])
            known[k] = known[k] << _DIGIT | digit
            left += int(row[digit])
        if shift and left <= _AT_HAND:
            near: list[list[Tensor]] = [[] for _ in range(n)]
            for k, bits in _sharing(parts, known, shift):
                near[k].append(bits.cpu())
            known = [int(torch.cat(b).sort(descending=True).values[r - 1]) for b, r in zip(near, rank, strict=True)]
            break
    return torch.tensor(known, dtype=torch.int64).view(torch.float64).tolist()


def _sharing(
    read: Callable[[], Iterable[Sequence[Tensor]]], known: Sequence[int], shift: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield which vector it is, and the bits of the sizes of its numbers that begin with the known ones.

    The bits of numbers that are not negative are in the order of the numbers.
    """
    for vectors in read():
        for k, tau in enumerate(vectors):
            bits = tau.abs().reshape(-1).view(torch.int64)
            yield k, bits if shift == 64 else bits[bits >> shift == known[k]]
