"""Greedy soup (Wortsman et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from skfusion.merge._base import LinearMerger
from skfusion.objective import Objective
from skfusion.state import RunningSum, State


class Greedy(LinearMerger):
    r"""Average the members that help on held-out data, best first.

    Members are ranked by their own held-out score. The soup starts as the best one; each next member joins when
    the uniform mean of the soup and that member scores at least as well as the soup:

    .. math:: S \leftarrow S \cup \{k\} \quad\text{if}\quad
        \operatorname{score}\Big(\tfrac{1}{|S| + 1} \sum_{i \in S \cup \{k\}} \theta_i\Big)
        \ge \operatorname{score}\Big(\tfrac{1}{|S|} \sum_{i \in S} \theta_i\Big)

    Parameters
    ----------
    strict : bool, default=False
        Ask for a gain (``>``) instead of no loss (``>=``, the paper). True gives smaller soups.

    Notes
    -----
    Costs 2K - 1 evaluations at most and O(K d) sums for d parameters. On the held-out rows the soup is never worse
    than the best member, by construction. Members of equal score keep the pool's order.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482, recipe 1.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import Greedy
    >>> from skfusion.objective import Objective
    >>> states = [{"w": torch.tensor([v])} for v in (0.0, 3.0, 9.0)]
    >>> aim = Objective(
    ...     nn.Identity(),
    ...     lambda: [],
    ...     lambda s: (s["w"].item() - 2) ** 2,
    ...     lambda s: -((s["w"].item() - 2) ** 2),
    ... )
    >>> Greedy()(states, objective=aim)["w"].tolist()
    [1.5]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __init__(self, strict: bool = False):
        self.strict = strict

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return 1 / m for the m members of the soup, 0 for others; see :meth:`LinearMerger.coefficients`."""
        if objective is None:
            raise ValueError("Greedy ranks members by their held-out score; give it an objective with held-out rows.")
        chosen = greedy_soup(states, objective.scores, self.strict)
        return [1 / len(chosen) if k in chosen else 0.0 for k in range(len(states))]


def greedy_soup(
    states: Sequence[State], scores: Callable[[Iterable[State]], list[float]], strict: bool = False
) -> list[int]:
    """Return the positions of the members of the greedy soup, in the order in which they joined."""
    own = scores(states)
    if unknown := [k for k, value in enumerate(own) if math.isnan(value)]:
        raise ValueError(f"The held-out score of member {unknown[0]} is NaN, so it has no rank; drop it from the pool.")
    first, *others = sorted(range(len(states)), key=lambda k: -own[k])
    chosen, best = [first], own[first]
    total = RunningSum(states[first])
    for k in others:
        trial = total.plus(states[k])
        (found,) = scores([trial.mean()])
        if found > best or (found == best and not strict):
            chosen, total, best = [*chosen, k], trial, found
    return chosen
