"""AdaMerging (Yang et al., 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skfusion._batches import drawn, joined, mean, n_rows, rows_at, take
from skfusion.merge._base import Merger, check_states, tied
from skfusion.merge._tensorwise import is_merged
from skfusion.merge.soups._mixture import Mixture
from skfusion.merge.task_vectors._ties import elected, thresholds, trimmed
from skfusion.objective import Batch, Input, Likelihood, Objective, evaluating
from skfusion.state import State

_AT_ONCE = 256
"""Rows whose entropy is computed at once."""


@dataclass(eq=False, repr=False)
class AdaMerging(Merger):
    r"""Learn how much of each fine-tune to take in each layer, so that predictions on unlabelled rows are sure.

    .. math:: \theta^l = \theta_0^l + \sum_k \lambda_k^l (\theta_k^l - \theta_0^l), \qquad
        \min_{0 \le \lambda \le 1} \; \sum_k \frac{1}{n_k} \sum_{x \in X_k}
        \operatorname{H}\big( p(\cdot \mid x; \theta) \big)

    with the entropy H of the predictions, in nats, on the rows :math:`X_k` of each member's task.

    Parameters
    ----------
    per_layer : bool, default=True
        Whether each module that holds tensors has separate coefficients: L K of them for L layers, otherwise K.
    density : float, optional
        Share of the largest changes of each member that is kept, in (0, 1], before those of the minority sign are
        dropped, too, as in :class:`TIES` (the paper's AdaMerging++, which takes 0.2). A larger value keeps more small
        changes. All are kept when omitted.
    init : float, default=0.3
        Where coefficients start, from 0 to 1. A larger value starts further from the base.
    lr : float, default=0.001
        Learning rate of Adam: about what a coefficient may move in a step. A larger one goes further from the start.
    n_steps : int, default=500
        Steps, each on one batch of each member's rows. With 0, the result is that of task arithmetic, but for the
        statistics of BatchNorm.
    batch_size : int, default=16
        Rows of each member for a step. A larger one gives steps of less noise at more cost.
    random_state : int, default=0
        Seed of the order of the rows.

    Notes
    -----
    Costs K forward and backward passes over a batch, and O(K d) for d parameters, for each step. Memory is for the K
    members, the base and three more states, with ``density`` for another K, and for the rows that are used, at most
    ``n_steps * batch_size`` a member. Where all rows are for all members, and there are no heads, they share one pass.
    No labels are needed, but the predictions must be those of a classifier. Heads that the objective holds stay as they
    are.

    The paper learns from the rows that are to be predicted; those that the objective gives are taken here. Coefficients
    are those of a module's tensors together, where the authors' code has one for each tensor, and are brought back to
    [0, 1] after each step, where it clips them in use. Statistics of BatchNorm are the plain mean while coefficients
    are learned. Low entropy is not accuracy: a network that is confidently wrong has none. Reported are
    ``coefficients`` (K of them, or K for each layer) and ``entropy``, a pair: before and after, summed over tasks.

    References
    ----------
    Yang et al., "AdaMerging: adaptive model merging for multi-task learning", ICLR 2024, arXiv:2310.02575.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import AdaMerging
    >>> from skfusion.objective import Batch, Likelihood, ModuleObjective
    >>> x = torch.tensor([[1.0], [-1.0]])
    >>> sure = Likelihood("bernoulli", lambda out: out)
    >>> data = ModuleObjective(nn.Linear(1, 1, bias=False), lambda: [Batch(x, x)], likelihood=sure)
    >>> base, *states = [{"weight": torch.tensor([[v]])} for v in (1.0, 3.0, 0.0)]
    >>> AdaMerging(n_steps=200, lr=0.01)(states, base, data)["weight"].item()
    3.0
    """

    per_layer: bool = True
    density: float | None = None
    init: float = 0.3
    lr: float = 1e-3
    n_steps: int = 500
    batch_size: int = 16
    random_state: int = 0

    needs_base: ClassVar[bool] = True
    needs_objective: ClassVar[bool] = True
    why_copies_change: ClassVar[str] = "coefficients need not sum to one, so copies are taken in part or repeatedly"
    _test_sets = ({"n_steps": 5}, {"n_steps": 5, "per_layer": False, "density": 0.5})

    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the base with the learned share of each member's change; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        self._check()
        if objective is None or objective.likelihood is None:
            raise ValueError("AdaMerging asks how sure predictions are; give it an objective with a likelihood.")
        if objective.likelihood.kind == "gaussian":
            raise ValueError("AdaMerging is for classifiers: values that are predicted have no entropy.")
        assert base is not None  # check_states has refused None
        owner = tied(states, objective.module)
        if self.density is not None:
            states = agreeing(states, base, owner, self.density)
        mixture = Mixture(states, owner, is_merged, self.per_layer, base)
        with evaluating(objective.module), torch.enable_grad():
            coefficients = self._learn(mixture, objective, objective.likelihood)
        objective.report("coefficients", mixture.named(coefficients))
        return mixture.at(coefficients)

    def _check(self) -> None:
        if not (0 <= self.init <= 1 and math.isfinite(self.lr) and self.lr >= 0):
            raise ValueError(f"init must lie between 0 and 1, and lr be at least 0; got {self!r}.")
        if self.n_steps < 0 or self.batch_size < 1:
            raise ValueError(f"n_steps must be at least 0, and batch_size at least 1; got {self!r}.")
        if self.density is not None and not 0 < self.density <= 1:
            raise ValueError(f"density is a share of the changes, in (0, 1], or None; got {self.density}.")

    def _learn(self, mixture: Mixture, objective: Objective, likelihood: Likelihood) -> Tensor:
        """Return the coefficients, shape (n_layers, n_members)."""
        coefficients = torch.full(mixture.shape, float(self.init), dtype=torch.float64)
        if self.n_steps == 0:
            return coefficients
        members = range(mixture.shape[1])
        views = [*dict.fromkeys(objective.of_member(k) for k in members)]  # a single one where all rows are for all
        rows = [self._rows(view) for view in views]
        optimizer = torch.optim.Adam([coefficients], lr=self.lr)

        def entropies(state: State, view: Objective, x: Input) -> Tensor:
            return likelihood.entropy(view.forward(state, x))

        def total() -> float:
            state, entropy = mixture.at(coefficients), 0.0
            for view, (batch, _) in zip(views, rows, strict=True):
                parts = torch.split(torch.arange(n_rows(batch.x)), _AT_ONCE)
                with torch.no_grad():
                    values = torch.cat([entropies(state, view, rows_at(batch.x, index)) for index in parts])
                entropy += float(mean(values, batch.weight))
            return entropy

        before = total()
        for step in range(self.n_steps):
            leaves = mixture.leaves(state := mixture.at(coefficients))
            coefficients.grad = torch.zeros_like(coefficients)
            for view, (batch, order) in zip(views, rows, strict=True):
                some = take(batch, order[step])
                loss = mean(entropies(state, view, some.x), some.weight)
                gradients = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
                coefficients.grad += mixture.slopes(leaves, gradients)
            optimizer.step()
            coefficients.clamp_(0, 1)
        after = total()
        if not math.isfinite(after):
            raise ValueError(
                f"The entropy of the predictions was {before} and is {after}: take a smaller lr than {self.lr}."
            )
        objective.report("entropy", (before, after))
        return coefficients

    def _rows(self, view: Objective) -> tuple[Batch, Tensor]:
        """Return a member's rows, and which of them each step takes, shape (n_steps, batch_size)."""
        generator = torch.Generator().manual_seed(self.random_state)
        batches = [*drawn(view.batches, self.n_steps * self.batch_size, generator)]
        if not batches:
            raise ValueError("AdaMerging learns from rows, and the objective has none.")
        batch = joined(batches)
        n = n_rows(batch.x)
        size = min(self.batch_size, n)
        rounds = -(-self.n_steps * size // n)
        order = torch.cat([torch.randperm(n, generator=generator) for _ in range(rounds)])
        return batch, order[: self.n_steps * size].reshape(self.n_steps, size)


def agreeing(states: Sequence[State], base: State, owner: dict[str, str], density: float) -> list[State]:
    """Return members that keep the share ``density`` of their changes, and of these only those of the elected sign."""
    names = [key for key, t in base.items() if owner[key] == key and is_merged(key, t)]

    def changes(key: str) -> list[Tensor]:
        return [s[key].detach().double() - base[key].detach().double() for s in states]

    cuts = thresholds(lambda: ((key, changes(key)) for key in names), len(states), density)
    kept: list[State] = [{} for _ in states]
    for key in names:
        large = [trimmed(tau, cut) for tau, cut in zip(changes(key), cuts, strict=True)]
        sign = elected(large)
        for k, tau in enumerate(large):
            kept[k][key] = (base[key] + torch.where(tau * sign > 0, tau, 0.0)).to(base[key].dtype)
    return [{key: kept[k].get(owner[key], t) for key, t in s.items()} for k, s in enumerate(states)]
