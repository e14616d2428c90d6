"""The search for weights that sum to one, which both soups with tuned weights share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import CmaEsSampler
from scipy.special import softmax

from skfusion.merge import Merger, greedy_soup, known_scores
from skfusion.objective import Objective
from skfusion.state import State
from skfusion.tuning._study import quiet, sampler_of


@dataclass(eq=False, repr=False)
class TunedWeights(Merger):
    """A merger whose weights Optuna tunes; subclasses call :func:`best_weights`."""

    n_trials: int = 200
    sampler: Any = None
    bound: float = 4.0
    random_state: int = 0

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_trials": 15}
        yield {"n_trials": 0}


Soup = Callable[[np.ndarray], State]
"""``soup(weights)`` is the state that weights of shape (n_groups, K) make; each row sums to one."""


def best_weights(
    merger: TunedWeights, states: Sequence[State], objective: Objective | None, soup: Soup, n_groups: int = 1
) -> np.ndarray:
    """Return the weights of the best held-out score, shape (n_groups, K), among starts and proposals of a study.

    Of equal scores the uniform soup comes first, then the greedy one, then members. The objective gets the reports.
    """
    check_settings(merger, objective)
    count = [0]

    def scores(states: Iterable[State]) -> list[float]:
        results = objective.scores(states)
        count[0] += len(results)
        return results

    of_members = known_scores(scores(states))
    chosen = greedy_soup(states, scores, member_scores=of_members)
    ranked = sorted(range(len(states)), key=lambda k: -of_members[k])
    starts = [np.full(len(states), 1 / len(states)), np.isin(np.arange(len(states)), chosen) / len(chosen)]
    starts += [np.eye(len(states))[k] for k in ranked]
    everywhere = [np.tile(weights, (n_groups, 1)) for weights in starts]
    known = [_number(s) for s in scores(soup(weights) for weights in everywhere[:2])] + [of_members[k] for k in ranked]
    score = max(known)
    best = everywhere[known.index(score)]
    study = _Study(merger, ranked, n_groups)
    for weights, value in {w.tobytes(): (w, v) for w, v in zip(starts, known, strict=True)}.values():
        study.know(weights, value)
    for _ in range(merger.n_trials if len(states) > 1 else 0):
        weights = study.ask()
        (new,) = scores([soup(weights)])
        study.tell(_number(new))
        if new > score:
            score, best = new, weights
    facts = {"score": score, "uniform_score": known[0], "greedy_score": known[1], "best_single_score": known[2]}
    facts |= {"improvement": score - max(known), "n_evaluations": count[0], "study": study.study}
    for name, value in facts.items():
        objective.report(name, value)
    return best


def check_settings(merger: Any, objective: Objective | None) -> None:
    """Raise where weights cannot be searched for."""
    name = type(merger).__name__
    if objective is None:
        raise ValueError(f"{name} tries weights on held-out data; give it an objective with held-out rows.")
    if not isinstance(merger.n_trials, Integral) or merger.n_trials < 0:
        raise ValueError(f"n_trials of {name} must be a whole number, 0 or more; got {merger.n_trials!r}.")
    if not 0 < merger.bound < math.inf:
        raise ValueError(f"bound of {name} must be positive and finite; got {merger.bound!r}.")


class _Study:
    """A study over the arguments of softmaxes, named by rank, so that the order of members has no influence."""

    def __init__(self, merger: Any, ranked: Sequence[int], n_groups: int):
        self.place, self.bound = np.argsort(ranked), merger.bound  # place[k] is the rank of member k
        one = FloatDistribution(-merger.bound, merger.bound)
        self.space = {f"group{g}-rank{r}": one for g in range(n_groups) for r in range(len(ranked))}
        self.shape = n_groups, len(ranked)
        with quiet():
            sampler = sampler_of(CmaEsSampler if merger.sampler is None else merger.sampler, merger.random_state)
            self.study = optuna.create_study(direction="maximize", sampler=sampler)

    def know(self, weights: np.ndarray, score: float) -> None:
        """Add weights that have been evaluated; zero is not in the space, so ``-bound`` stands for it."""
        z = np.where(weights > 0, self.bound, -self.bound) if (weights == 0).any() else np.zeros(len(weights))
        by_rank = np.empty(len(z))
        by_rank[self.place] = z
        with quiet():
            self.study.enqueue_trial(dict(zip(self.space, np.tile(by_rank, self.shape[0]).tolist(), strict=True)))
        self.ask()
        with quiet():
            self.trial.set_user_attr("weights", weights.tolist())
        self.tell(score)

    def ask(self) -> np.ndarray:
        """Return the next weights, shape (n_groups, K)."""
        with quiet():
            self.trial = self.study.ask(self.space)
            z = np.array([self.trial.params[name] for name in self.space]).reshape(self.shape)
            weights = softmax(z, axis=-1)[:, self.place]
            self.trial.set_user_attr("weights", (weights[0] if len(weights) == 1 else weights).tolist())
        return weights

    def tell(self, score: float) -> None:
        """Store the score of the weights that were asked for."""
        with quiet():
            self.study.tell(self.trial, score)


def _number(score: float) -> float:
    return -math.inf if math.isnan(score) else score
