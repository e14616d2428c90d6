"""Soups of robust networks (Croce et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from skfusion.merge._base import LinearMerger
from skfusion.objective import Objective
from skfusion.state import State, flatten, weighted_sums


@dataclass(eq=False, repr=False)
class RobustSoup(LinearMerger):
    r"""Take the best affine combination of the members on a coarse grid, which may leave their simplex.

    .. math:: \max_a \; \operatorname{score}\Big(\sum_k a_k \theta_k\Big), \qquad \sum_k a_k = 1, \qquad
        a_k \in \{l, \dots, -s, 0, s, 2 s, \dots, h\}

    Parameters
    ----------
    low : float, default=-0.4
        The least weight *l*. A value below 0 allows to go beyond a member, away from others; 0 keeps to the simplex.
    high : float, default=1.4
        The largest weight *h*.
    step : float, default=0.2
        Distance *s* of neighbouring weights, which divides 1. A larger one makes the search cheaper and coarser.
    max_candidates : int, default=1000
        Evaluations to make at most; a grid with more candidates is refused.

    Notes
    -----
    Costs an evaluation, and O(K d) sums for d parameters, for each candidate; with the defaults there are 10 for two
    members, 69 for three, 480 for four, and about seven times as many for each further one. Each single member is a
    candidate, so that the result is never worse than the best member on the held-out rows, by construction: a few rows
    of the distribution at which it is aimed are said to be enough. Equal scores go to the most even weights, and where
    these are equal, too, to the smaller network. Reported are ``score`` and ``n_evaluations``.

    Outside of the simplex the statistics of BatchNorm are extrapolated as well; a candidate whose score is not a number
    never wins.

    References
    ----------
    Croce et al., "Seasoning model soups for robustness to adversarial and natural distribution shifts", CVPR 2023,
    arXiv:2302.10164.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import RobustSoup
    >>> from skfusion.objective import ModuleObjective
    >>> states = [{"w": torch.tensor([v])} for v in (0.0, 5.0)]
    >>> aim = ModuleObjective(nn.Identity(), lambda: [], score=lambda s: -abs(s["w"].item() - 6))
    >>> RobustSoup()(states, objective=aim)["w"].tolist()
    [6.0]
    """

    low: float = -0.4
    high: float = 1.4
    step: float = 0.2
    max_candidates: int = 1000

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    _test_sets = ({}, {"low": 0.0, "high": 1.0, "step": 0.5})

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return the weights with the best score; see :meth:`LinearMerger.coefficients`."""
        if objective is None:
            raise ValueError("RobustSoup tries weights on held-out rows; give it an objective with held-out rows.")
        parts, least, most = _grid(self.low, self.high, self.step)
        n = n_tuples(len(states), parts, least, most)
        if n > self.max_candidates:
            raise ValueError(
                f"The grid of RobustSoup has {n} candidates for {len(states)} members, more than max_candidates="
                f"{self.max_candidates}. Take a larger step or a smaller range, or fewer members: select=TopK(3)."
            )
        single = [tuple(parts * (i == k) for i in range(len(states))) for k in range(len(states))]
        tried = [*dict.fromkeys([*single, *tuples(len(states), parts, least, most)])]
        soup = weighted_sums(states)
        scores = objective.scores(soup([i / parts for i in a]) for a in tried)
        if all(math.isnan(score) for score in scores):
            raise ValueError(
                "No candidate of RobustSoup has a score: all are NaN. Drop diverged members from the pool."
            )
        best = max(score for score in scores if not math.isnan(score))
        objective.report("score", best)
        objective.report("n_evaluations", len(tried))
        equal = [a for a, score in zip(tried, scores, strict=True) if score == best]
        even = min(sum(i * i for i in a) for a in equal)
        evenest = [[i / parts for i in a] for a in equal if sum(i * i for i in a) == even]

        def size(a: Sequence[float]) -> float:
            return float(torch.linalg.vector_norm(flatten(soup(a))))

        return evenest[0] if len(evenest) == 1 else min(evenest, key=size)


def _grid(low: float, high: float, step: float) -> tuple[int, int, int]:
    """Return how many steps make 1, and the least and the largest weight in steps."""
    if not (all(map(math.isfinite, (low, high, step))) and step > 0 and low <= high):
        raise ValueError(f"The grid needs low <= high and a positive step; got low={low}, high={high}, step={step}.")
    parts = round(1 / step)
    if parts < 1 or abs(parts * step - 1) > 1e-9:
        raise ValueError(f"step must divide 1, as 0.1, 0.2, 0.25 and 0.5 do, for weights to sum to 1; got {step}.")
    return parts, math.ceil(low * parts - 1e-9), math.floor(high * parts + 1e-9)


def tuples(k: int, total: int, least: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield the k-tuples of whole numbers from ``least`` to ``most`` with the given sum, in lexical order."""
    if k == 1:
        if least <= total <= most:
            yield (total,)
        return
    for first in range(max(least, total - (k - 1) * most), min(most, total - (k - 1) * least) + 1):
        yield from ((first, *rest) for rest in tuples(k - 1, total - first, least, most))


def n_tuples(k: int, total: int, least: int, most: int) -> int:
    """Return the number of :func:`tuples`, by inclusion and exclusion, without making them."""
    width, rest = most - least + 1, total - k * least
    if width < 1:
        return 0
    return sum(
        (-1) ** j * math.comb(k, j) * math.comb(rest - j * width + k - 1, k - 1)
        for j in range(k + 1)
        if rest - j * width >= 0
    )
