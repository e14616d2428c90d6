"""Greedy soup (Wortsman et al., 2022): Caruana ensemble selection in the space of weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, NamedTuple

from skfusion.merge._base import LinearMerger
from skfusion.objective import Objective
from skfusion.state import RunningSum, State


class OneMemberWarning(UserWarning):
    """A greedy soup is its best member and nothing else."""


class Greedy(LinearMerger):
    r"""Average the members that help on held-out data, best first.

    The soup starts as the member with the best held-out score; each next member joins when the uniform mean of the soup
    and that member scores at least as well as the soup:

    .. math:: S \leftarrow S \cup \{k\} \quad\text{if}\quad
        \operatorname{score}\Big(\tfrac{1}{|S| + 1} \sum_{i \in S \cup \{k\}} \theta_i\Big)
        \ge \operatorname{score}\Big(\tfrac{1}{|S|} \sum_{i \in S} \theta_i\Big)

    Parameters
    ----------
    strict : bool, default=False
        Ask for a gain (``>``, as the authors' code does) instead of no loss (``>=``, as the paper does). True gives
        smaller soups.
    order : {"score", "given"}, default="score"
        Which member is tried next: the best one of the rest, or the next one in the pool.
    n_passes : int, default=1
        How often members are gone through. From the second time on they may join again, which gives them larger
        shares (selection with replacement), and must bring a gain; it ends when none does.

    Notes
    -----
    Costs 2K - 1 evaluations at most, K more for each further pass, and O(K d) sums for d parameters. On the held-out
    rows the soup is never worse than the best member, by construction. Members of equal score keep the pool's order.
    Where no member joins the best one, :class:`OneMemberWarning` says why. With fine-tunes that share a linear-probed
    head, this is DiWA's restricted selection.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482, recipe 1. Caruana et al., "Ensemble selection from
    libraries of models", ICML 2004, doi:10.1145/1015330.1015432 (selection with replacement). Rame et al., "Diverse
    weight averaging for out-of-distribution generalization", NeurIPS 2022, arXiv:2205.09739.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import Greedy
    >>> from skfusion.objective import ModuleObjective
    >>> states = [{"w": torch.tensor([v])} for v in (0.0, 3.0, 9.0)]
    >>> aim = ModuleObjective(nn.Identity(), lambda: [], score=lambda s: -abs(s["w"].item() - 2))
    >>> Greedy()(states, objective=aim)["w"].tolist()
    [1.5]
    >>> Greedy(n_passes=2)(states, objective=aim)["w"].tolist()
    [2.0]
    """

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    _test_sets = ({}, {"strict": True, "n_passes": 3})

    def __init__(self, strict: bool = False, order: str = "score", n_passes: int = 1):
        self.strict = strict
        self.order = order
        self.n_passes = n_passes

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return how often each member has joined, as a share; see :meth:`LinearMerger.coefficients`."""
        if objective is None:
            raise ValueError("Greedy ranks members by their held-out score; give it an objective with held-out rows.")
        if self.order not in ("score", "given"):
            raise ValueError(f"order must be 'score' or 'given'; got {self.order!r}.")
        if self.n_passes < 1:
            raise ValueError(f"n_passes must be at least 1; got {self.n_passes}.")
        scores = known_scores(objective.scores(states))
        trials: list[Trial] = []
        chosen = greedy_soup(states, objective.scores, self.strict, self.order, self.n_passes, scores, trials.append)
        objective.report("members", chosen)
        objective.report("score", max([scores[chosen[0]], *(t.score for t in trials if t.joined)]))
        objective.report("best_member_score", scores[chosen[0]])
        objective.report("n_evaluations", len(states) + len(trials))
        if len({*chosen}) == 1 < len(states):
            why = explanation(scores, chosen[0], trials)
            objective.report("explanation", why)
            warnings.warn(why, OneMemberWarning, stacklevel=2)
        return [chosen.count(k) / len(chosen) for k in range(len(states))]


class Trial(NamedTuple):
    """A soup that was tried: with which member, what it scored, and whether the member joined."""

    member: int
    score: float
    joined: bool


def known_scores(scores: list[float]) -> list[float]:
    """Return the scores of members, -inf with a warning where one is NaN, or raise where all are."""
    unknown = [k for k, value in enumerate(scores) if math.isnan(value)]
    if len(unknown) == len(scores) > 1:
        raise ValueError(
            f"The held-out score of each of the {len(scores)} members is NaN, so there is nothing to choose by: the "
            "score is not defined on these rows, as an area under a curve is where they lack a class, or all members "
            "have diverged. Use a larger validation_fraction, more rows or another score."
        )
    if not unknown:
        return scores
    if len(scores) > 1:
        warnings.warn(
            f"The held-out score of the members {unknown} of {len(scores)} is NaN, so they rank last.",
            UserWarning,
            stacklevel=3,
        )
    return [-math.inf if math.isnan(value) else value for value in scores]


def greedy_soup(
    states: Sequence[State],
    scores: Callable[[Iterable[State]], list[float]],
    strict: bool = False,
    order: str = "score",
    n_passes: int = 1,
    member_scores: list[float] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> list[int]:
    """Return the positions of the members of the greedy soup, in the order in which they joined."""
    member_scores = known_scores(scores(states)) if member_scores is None else member_scores
    ranked = sorted(range(len(states)), key=lambda k: -member_scores[k])
    first = ranked[0]
    line = ranked if order == "score" else [*range(len(states))]
    chosen, best, total = [first], member_scores[first], RunningSum(states[first])
    for turn in range(n_passes):
        before = len(chosen)
        rest = [k for k in line if turn or k != first]
        while rest:
            for mean in total.means_with([states[k] for k in rest]):
                k = rest.pop(0)
                (score,) = scores([mean])
                joins = score > best or (score == best and not strict and turn == 0)
                if on_trial is not None:
                    on_trial(Trial(k, score, joins))
                if joins:
                    chosen, total, best = [*chosen, k], total.plus(states[k]), score
                    break
        if len(chosen) == before:
            break
    return chosen


def explanation(scores: Sequence[float], best: int, trials: Sequence[Trial]) -> str:
    """Return why the soup is the best member alone."""
    pairs = [t for t in trials if t.member != best]
    nearest = max(pairs, key=lambda t: -math.inf if math.isnan(t.score) else t.score)
    head = (
        f"Greedy kept 1 of {len(scores)} members: the best one scores {scores[best]:.4g} on the held-out rows, and no "
        f"mean of it with another one scores better; with member {nearest.member} ({scores[nearest.member]:.4g}) it "
        f"scores {nearest.score:.4g}. "
    )
    if not any(t.score >= min(scores[best], scores[t.member]) for t in pairs):
        return head + (
            "Each mean is worse than both of its members, as where barriers lie between them: between networks that "
            "did not start from the same weights, or went far from them; on few held-out rows it may be chance. "
            "FineTunes with smaller learning rates, aligned members (align=WeightMatching()), more held-out rows, or "
            "an ensemble of their predictions may help."
        )
    return head + (
        "Some means are no worse than the weaker of their two members, as in one basin: the others may be too weak, or "
        "too like the best one, to add to it. More diverse members of like quality, more held-out rows, or a loss as "
        "score (scoring='neg_log_loss') may help."
    )
