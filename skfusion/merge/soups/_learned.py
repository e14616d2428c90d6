"""Learned soup (Wortsman et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor

from skfusion._batches import mean
from skfusion.merge._base import Merge, Merger, check_states, tied
from skfusion.merge.soups._mixture import Mixture
from skfusion.objective import Batch, Objective, evaluating
from skfusion.state import State, owners


@dataclass(eq=False, repr=False)
class Learned(Merger):
    r"""Learn the weights of the members on held-out data, by gradient descent.

    .. math:: \min_{a, T} \; \frac{1}{n} \sum_{(x, y)} \ell\Big(\tfrac{1}{T} f\big(x; \textstyle\sum_k a_k \theta_k
        \big), y\Big), \qquad a = \operatorname{softmax}(b)

    Parameters
    ----------
    per_layer : bool, default=False
        Whether each module that holds tensors has separate weights. There are then L K numbers to learn for L
        layers, which fit the held-out rows better, and may fit them too well.
    simplex : bool, default=True
        Whether weights are positive, by the softmax. Otherwise they may be negative, or larger than 1: they are
        :math:`a_k = 1/K + b_k - \bar b`. They sum to one in both cases.
    temperature : bool, default=True
        Whether to learn a temperature T of the predictions along with the weights, so that weights are not chosen to
        make predictions as confident as they should be. It is left behind: the network is used without it. Regression
        has none.
    lr : float, default=0.05
        Learning rate of AdamW. A larger one goes further from the plain mean in the same number of steps.
    n_steps : int, default=200
        Steps, each on one batch of the held-out rows in turn. More find better weights for these rows.
    weight_decay : float, default=0.0
        Decay of b. A larger value keeps the weights nearer to the plain mean.

    Notes
    -----
    Costs a forward and a backward pass over a batch, and O(K d) for d parameters, for each step; an evaluation for each
    pass over the held-out rows; and memory for the K members and three more states.

    Weights start as the plain mean. After each pass over the held-out rows the network is judged by its held-out loss,
    without the temperature, and the best one is returned: on these rows its loss is never above that of the plain mean,
    by construction. With a temperature the log-loss of the classes is minimised, without one the criterion that the
    network was trained with. Statistics of BatchNorm follow the weights, but what they do to the loss is not
    differentiated. Reported are ``weights`` (K of them, or K for each layer), ``temperature``, ``loss`` and
    ``uniform_loss``. The authors learn weights for each tensor, not for each layer, and use the last ones.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482, appendix I.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import Learned
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> data = ModuleObjective(
    ...     nn.Linear(1, 1, bias=False),
    ...     lambda: [],
    ...     loss=lambda s: (s["weight"].item() - 2.5) ** 2,
    ...     held_out=lambda: [Batch(x, 2.5 * x)],
    ...     criterion=lambda out, batch: (out - batch.y).square().mean(),
    ... )
    >>> states = [{"weight": torch.tensor([[v]])} for v in (0.0, 3.0)]
    >>> Learned(temperature=False)(states, objective=data)["weight"].item()
    2.50
    """

    per_layer: bool = False
    simplex: bool = True
    temperature: bool = True
    lr: float = 0.05
    n_steps: int = 200
    weight_decay: float = 0.0

    needs_objective: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    _test_sets = (
        {"n_steps": 20},
        {"n_steps": 5, "per_layer": True, "simplex": False, "temperature": False, "weight_decay": 0.1},
    )

    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the members' sum by the learned weights; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        self._check()
        if objective is None or objective.held_out is None:
            raise ValueError("Learned fits weights to labelled rows; give it an objective with held-out rows.")
        mixture = self._mixture(states, objective)
        with evaluating(objective.module), torch.enable_grad():
            return mixture.at(self._learn(mixture, objective, objective.held_out))

    def repeated(self, reported: Mapping[str, Any]) -> Merge:
        """Return the sum by the weights that were learned; see :meth:`Merger.repeated`."""
        weights = reported["weights"]
        rows = torch.tensor([*weights.values()] if self.per_layer else [weights], dtype=torch.float64)

        def merge(states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
            return self._mixture(states, objective).at(rows)

        return merge

    def _mixture(self, states: Sequence[State], objective: Objective | None) -> Mixture:
        owner = owners(states) if objective is None else tied(states, objective.module)
        return Mixture(states, owner, lambda _, t: t.is_floating_point(), self.per_layer)

    def _check(self) -> None:
        if self.n_steps < 0:
            raise ValueError(f"n_steps must be at least 0; got {self.n_steps}.")
        if not all(math.isfinite(v) and v >= 0 for v in (self.lr, self.weight_decay)):
            raise ValueError(f"lr and weight_decay must be finite and at least 0; got {self!r}.")

    def _learn(self, mixture: Mixture, objective: Objective, held_out: Callable[[], Iterable[Batch]]) -> Tensor:
        """Return the weights with the least held-out loss, shape (n_layers, n_members), and report them."""
        free = torch.zeros(mixture.shape, dtype=torch.float64, requires_grad=True)
        heat = torch.zeros((), dtype=torch.float64, requires_grad=True)  # the logarithm of the temperature
        kinds = [{"params": [free], "weight_decay": self.weight_decay}, {"params": [heat], "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(kinds, lr=self.lr)
        best, best_heat = self._weights(free).detach(), 0.0
        least = uniform = objective.loss(mixture.at(best))
        step, finite = 0, True
        while step < self.n_steps and finite:
            before = step
            for batch in islice(held_out(), self.n_steps - step):
                weights = self._weights(free)
                state = mixture.at(weights.detach())
                leaves = mixture.leaves(state)
                loss = self._loss(objective, objective.forward(state, batch.x), batch, heat)
                finite = bool(torch.isfinite(loss))
                if not finite:
                    break
                *slopes, heat.grad = torch.autograd.grad(loss, [*leaves.values(), heat], allow_unused=True)
                (free.grad,) = torch.autograd.grad(weights, free, mixture.slopes(leaves, slopes))
                optimizer.step()
                step += 1
            if step == before and finite:
                raise ValueError("Learned fits weights to labelled rows, and the objective has no held-out ones.")
            weights = self._weights(free).detach()
            loss_now = objective.loss(mixture.at(weights))
            if loss_now < least:
                best, least, best_heat = weights, loss_now, heat.item()
        objective.report("weights", mixture.named(best))
        objective.report("temperature", math.exp(best_heat))
        objective.report("loss", least)
        objective.report("uniform_loss", uniform)
        return best

    def _weights(self, free: Tensor) -> Tensor:  # free, shape: (n_layers, n_members)
        """Return weights that sum to one in each layer, and are equal where ``free`` is 0."""
        return free.softmax(1) if self.simplex else 1 / free.shape[1] + free - free.mean(1, keepdim=True)

    def _loss(self, objective: Objective, out: Tensor, batch: Batch, heat: Tensor) -> Tensor:
        """Return the mean loss of a batch, for classes with their log-odds divided by the temperature."""
        likelihood = objective.likelihood
        if self.temperature and likelihood is not None and likelihood.kind != "gaussian":
            tempered = replace(likelihood, logits=lambda out: likelihood.logits(out) / heat.exp())
            return -mean(tempered.log_prob(out, batch.y), _row_weights(objective, batch))
        if objective.criterion is None:
            raise ValueError("Learned minimises a loss; give it an objective with a criterion.")
        return objective.criterion(out, batch)


def _row_weights(objective: Objective, batch: Batch) -> Tensor | None:
    """Return the weights of rows, those of their classes included; None where all count alike."""
    if objective.class_weight is None:
        return batch.weight
    by_class = objective.class_weight[batch.y.reshape(len(batch.y), -1)[:, 0].long()]
    return by_class if batch.weight is None else by_class * batch.weight
