"""Trainable weight averaging (Li et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import Tensor

from skfusion._random import seed_scope
from skfusion.merge._base import Merger, check_states
from skfusion.merge.trajectory._span import Span
from skfusion.objective import Batch, Objective, evaluating, loss_scale
from skfusion.state import State


@dataclass(eq=False, repr=False)
class TWA(Merger):
    r"""Train the weights of checkpoints in their span, on the training loss (trainable weight averaging).

    With an orthonormal basis P of the span of the K members, from which K numbers :math:`\alpha` make a network,

    .. math:: \min_\alpha \; L(\theta), \qquad \theta = P \alpha = \sum_k \beta_k \theta_k, \qquad
        \alpha \leftarrow \alpha - \eta P^\top \nabla L(\theta)

    by SGD with momentum from the plain mean, which is the descent of :math:`\theta` by the projected gradient
    :math:`P P^\top \nabla L`. The coefficients :math:`\beta` need not sum to one, and may be negative.

    Parameters
    ----------
    n_epochs : int, default=10
        Epochs over the training rows. With 0 the result is the plain mean.
    lr : float, default=0.1
        Learning rate, for half of the epochs; then a tenth, and a hundredth in the last quarter. A larger one goes
        further from the mean. The paper takes 1 and 2, for large networks with BatchNorm.
    momentum : float, default=0.9
        Momentum of SGD.
    weight_decay : float, default=1e-5
        L2 penalty on the weights of the network, as in its own training.
    random_state : int, default=0
        Seed of the order of the rows, and of dropout.

    Notes
    -----
    Costs a step of ordinary training and O(K d) for each batch, O(K² d) for the basis, and memory for two copies of the
    K members of d parameters, one in double precision. The rows are those of the training; none are held out. The loss
    is that of training, with dropout and the batch statistics of BatchNorm, whose running statistics are the plain mean
    until they are estimated anew. In regression the loss is divided by that of the mean target, so that ``lr`` and
    ``weight_decay`` do not depend on the units of the targets.

    Few numbers can overfit, too: where the training rows are nearly all right, larger weights make predictions more
    certain, and the coefficients sum to more than one. Of ten checkpoints on digits, the log-loss on other rows stays
    at 0.091 with ``lr=0.1``, and rises to 0.109 with ``lr=1``.

    What all members have in common, such as frozen layers, stays as it is, and so do copies of one network, and a
    single member; so do parameters that the module does not train, which are averaged. Members that lie in the span of
    those before them add nothing. The last iterate is returned. Reported are ``weights``, the coefficients β (the
    smallest ones where several make the same network), and ``losses``, the mean training loss of each epoch.

    References
    ----------
    Li, Huang, Tao, Wu and Huang, "Trainable weight averaging: efficient training by optimizing historical solutions",
    ICLR 2023, arXiv:2205.13104.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import TWA
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> data = ModuleObjective(
    ...     nn.Linear(1, 1, bias=False),
    ...     lambda: [Batch(x, 2.5 * x)],
    ...     criterion=lambda out, batch: (out - batch.y).square().mean(),
    ... )
    >>> states = [{"weight": torch.tensor([[v]])} for v in (1.0, 2.0)]
    >>> round(TWA(n_epochs=40)(states, objective=data)["weight"].item(), 2)
    2.5
    """

    n_epochs: int = 10
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-5
    random_state: int = 0

    needs_objective: ClassVar[bool] = True
    _test_sets = ({"n_epochs": 2},)

    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the network of the trained coefficients; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        self._check()
        if objective is None or objective.criterion is None:
            raise ValueError("TWA trains on labelled rows: give it an objective with a criterion and labels.")
        span = Span(states, objective.module)
        losses: list[float] = []
        if span.names and self.n_epochs:
            streams = seed_scope(int(self.random_state), span.basis.device)
            with streams, torch.enable_grad(), evaluating(objective.module):
                objective.module.train()
                losses = self._train(span, objective)
        objective.report("weights", span.coefficients())
        objective.report("losses", losses)
        return span.state()

    def _check(self) -> None:
        for name, value in (("n_epochs", self.n_epochs), ("random_state", self.random_state)):
            if not isinstance(value, Integral) or not 0 <= value < 2**32:
                raise ValueError(f"{name} must be a whole number of at least 0; got {value!r}.")
        numbers = (self.lr, self.momentum, self.weight_decay)
        if not all(isinstance(v, Real) and math.isfinite(v) and v >= 0 for v in numbers):
            raise ValueError(f"lr, momentum and weight_decay must be finite and at least 0; got {self!r}.")
        if self.momentum >= 1:
            raise ValueError(f"momentum must be below 1, or steps grow without end; got {self.momentum!r}.")

    def _train(self, span: Span, objective: Objective) -> list[float]:
        """Move the point of the span; return the mean loss of each epoch."""
        values = objective.likelihood is not None and objective.likelihood.kind == "gaussian"
        unit = loss_scale(objective) if values else 1.0
        optimizer = torch.optim.SGD([span.point], self.lr, self.momentum, weight_decay=self.weight_decay)
        losses: list[float] = []
        for epoch in range(self.n_epochs):
            optimizer.param_groups[0]["lr"] = self.lr * rate(epoch / self.n_epochs)
            seen = []
            for batch in objective.training():
                loss = _loss(span, objective, batch)
                slopes = torch.autograd.grad(loss / unit, span.leaves, allow_unused=True)
                span.point.grad = span.projected(slopes)
                optimizer.step()
                seen.append(loss.detach())
            if not seen:
                raise ValueError("TWA trains on labelled rows, and the objective has none.")
            losses.append(float(torch.stack(seen).mean()))
            if not (math.isfinite(losses[-1]) and bool(span.point.isfinite().all())):
                raise ValueError(
                    f"The training of {self!r} diverged in epoch {epoch + 1}: its loss is {losses[-1]}. Give it a "
                    f"smaller lr than {self.lr}."
                )
        return losses


def rate(done: float) -> float:
    """Return the factor on the learning rate after a share of the training."""
    return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01


def _loss(span: Span, objective: Objective, batch: Batch) -> Tensor:
    if batch.y is None:
        raise ValueError(
            "TWA trains on labelled rows, and the labels are missing: a batch of the objective has y=None. Give its "
            "batches (or training=) labels."
        )
    assert objective.criterion is not None
    return objective.criterion(objective.forward(span.place(), batch.x), batch)
