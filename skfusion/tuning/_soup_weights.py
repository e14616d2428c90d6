"""Soup with weights that Optuna tunes (Wortsman et al., 2022; Akiba et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from skfusion.merge import LinearMerger
from skfusion.objective import Objective
from skfusion.state import State, weighted_sum
from skfusion.tuning._simplex import TunedWeights, best_weights


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
    ``improvement`` (over the best of these), ``n_evaluations`` and ``study``, whose trials have their weights, in the
    order of the members, among their ``user_attrs``.

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
        best = best_weights(self, states, objective, lambda weights: weighted_sum(states, weights[0]))
        coefficients: list[float] = best[0].tolist()
        objective.report("weights", coefficients)
        return coefficients
