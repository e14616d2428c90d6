"""Soup with weights that Optuna tunes (Wortsman et al., 2022; Akiba et al., 2019), and the search for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import CmaEsSampler
from scipy.special import softmax

from skfusion.merge import LinearMerger, Merger, greedy_soup, known_scores
from skfusion.objective import Objective
from skfusion.state import State, weighted_sums
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


class SoupWeights(TunedWeights, LinearMerger):
    r"""Average the members with the weights of the best held-out score that Optuna finds.

    .. math:: \theta = \sum_k w_k \theta_k, \qquad w = \operatorname{softmax}(z), \qquad z \in [-b, b]^K

    The score may be any, as no gradient is needed. The uniform soup, the greedy soup and the single members are
    evaluated first, with their exact weights, and added to the study.

    Parameters
    ----------
    n_trials : int, default=200
        Weights that the sampler proposes. More find better held-out scores, and fit the held-out rows more closely.
    sampler : sampler of Optuna, or callable, optional
        ``CmaEsSampler`` when omitted. A callable, such as the class ``GPSampler``, is called with
        ``seed=random_state``; an instance is copied for each call and keeps its own seed.
    bound : float, default=4.0
        Largest absolute argument b of the softmax. Shares are up to :math:`e^{2b}` times each other, so with a larger
        one members can be left out more nearly, and the space to search is larger.
    random_state : int, default=0
        Seed of the sampler.

    Notes
    -----
    Costs ``n_trials`` + 2K + 1 evaluations at most, each with O(K d) sums for d parameters, and what the sampler takes:
    about 1 ms a trial for CMA-ES, 4 ms for ``TPESampler``, 0.1 s for ``GPSampler``. CMA-ES finds more in 200 trials,
    and TPE, which learns from the starts, in 50: take it where an evaluation is expensive. Where the score is a loss
    with gradients, :class:`skfusion.merge.Learned` needs fewer passes.

    On the held-out rows the result is never worse than the uniform soup, the greedy soup or the best member, by
    construction. All of its gain is on rows that it was chosen by: look at others, too.

    The objective gets the reports ``score``, ``uniform_score``, ``greedy_score``, ``best_single_score``,
    ``improvement`` (over the best of these), ``n_evaluations`` and ``study``, whose trials have ``weights`` in
    ``user_attrs``.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482. Akiba et al., "Optuna: a next-generation hyperparameter
    optimization framework", KDD 2019, doi:10.1145/3292500.3330701. Hansen and Ostermeier, "Completely derandomized
    self-adaptation in evolution strategies", Evolutionary Computation 9, 2001, doi:10.1162/106365601750190398.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.objective import ModuleObjective
    >>> from skfusion.tuning import SoupWeights
    >>> states = [{"w": torch.tensor([v])} for v in (0.0, 3.0, 9.0)]
    >>> aim = ModuleObjective(
    ...     nn.Identity(),
    ...     lambda: [],
    ...     lambda s: (s["w"].item() - 2) ** 2,
    ...     lambda s: -((s["w"].item() - 2) ** 2),
    ... )
    >>> soup = SoupWeights(n_trials=50)(states, objective=aim)
    >>> round(soup["w"].item(), 1)
    2.0
    """

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return the weights, which sum to one; see :meth:`LinearMerger.coefficients`."""
        soup = weighted_sums(states)
        best = best_weights(self, states, objective, lambda weights: soup(weights[0]))
        coefficients: list[float] = best[0].tolist()
        objective.report("weights", coefficients)
        return coefficients


def best_weights(
    merger: TunedWeights,
    states: Sequence[State],
    objective: Objective | None,
    soup: Callable[[np.ndarray], State],  # of weights of shape (n_groups, K), whose rows sum to one
    n_groups: int = 1,
) -> np.ndarray:
    """Return the weights of the best held-out score, shape (n_groups, K), among starts and proposals of a study.

    Of equal scores the uniform soup comes first, then the greedy one, then members. The objective gets the reports.
    """
    name = type(merger).__name__
    if objective is None:
        raise ValueError(f"{name} tries weights on held-out data; give it an objective with held-out rows.")
    if not isinstance(merger.n_trials, Integral) or merger.n_trials < 0:
        raise ValueError(f"n_trials of {name} must be a whole number, 0 or more; got {merger.n_trials!r}.")
    if not 0 < merger.bound < math.inf:
        raise ValueError(f"bound of {name} must be positive and finite; got {merger.bound!r}.")
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


class _Study:
    """A study over the arguments of softmaxes, named by rank, so that the order of members has no influence."""

    def __init__(self, merger: Any, ranked: Sequence[int], n_groups: int):
        self.place, self.bound = np.argsort(ranked), merger.bound  # place[k] is the rank of member k
        one = FloatDistribution(-merger.bound, merger.bound)
        self.space = {f"group{g}-rank{r}": one for g in range(n_groups) for r in range(len(ranked))}
        self.shape = n_groups, len(ranked)
        with quiet():
            sampler = sampler_of(_cma_es() if merger.sampler is None else merger.sampler, merger.random_state)
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


def _cma_es() -> type[CmaEsSampler]:
    """Return the sampler that is taken when none is given, or say what it lacks before anything is evaluated."""
    if find_spec("cmaes") is None:
        raise ModuleNotFoundError(
            "Weights of soups are searched by CMA-ES, which needs the package cmaes: pip install cmaes. Or give "
            "another sampler, such as sampler=optuna.samplers.TPESampler.",
            name="cmaes",
        )
    return CmaEsSampler


def _number(score: float) -> float:
    return -math.inf if math.isnan(score) else score
