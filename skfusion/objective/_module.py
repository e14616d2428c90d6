"""An objective that is written by hand: a module, its data, and functions that judge states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from skfusion.objective._base import Batch, Batches, Likelihood, Objective
from skfusion.state import State


class ModuleObjective(Objective):
    """An objective of a module and functions.

    Parameters
    ----------
    module : nn.Module
        The architecture; the weights in it are never read.
    batches : callable
        ``batches()`` iterates over :class:`Batch` of the data that statistics are estimated on.
    loss : callable, optional
        ``loss(state)`` is the mean held-out loss. Methods that only run states need none.
    score : callable, optional
        ``score(state)`` is the held-out score, higher is better.
    held_out : callable, optional
        ``held_out()`` iterates over the labelled rows that ``loss`` and ``score`` judge on.
    training : callable, optional
        ``training()`` iterates over an epoch of mini-batches of labelled rows; ``batches`` stand in when omitted.
    criterion : callable, optional
        ``criterion(output, batch)`` is the mean loss of a batch by its weights; gradients pass through it.
    likelihood : Likelihood, optional
        How outputs are read.
    of_output : callable, optional
        ``of_output(output)`` is the pair (loss, score) of the module's output for all held-out rows, in their order.
    member_batches : sequence of callable, optional
        ``member_batches[k]()`` iterates over the rows that member k was trained on, where members differ in them.
    report : callable, optional
        ``report(name, value)`` receives what a method has computed, such as the number of its evaluations.

    Examples
    --------
    >>> import torch
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net, x, y = torch.nn.Linear(3, 2), torch.ones(5, 3), torch.zeros(5, dtype=torch.long)
    >>> data = ModuleObjective(net, lambda: [Batch(x, y)], score=lambda state: float(state["bias"].sum()))
    >>> data.score({"weight": torch.ones(2, 3), "bias": torch.ones(2)})
    2.0
    """

    def __init__(
        self,
        module: nn.Module,
        batches: Batches,
        loss: Callable[[State], float] | None = None,
        score: Callable[[State], float] | None = None,
        *,
        held_out: Batches | None = None,
        training: Batches | None = None,
        criterion: Callable[[Tensor, Batch], Tensor] | None = None,
        likelihood: Likelihood | None = None,
        of_output: Callable[[Tensor], tuple[float, float]] | None = None,
        member_batches: Sequence[Batches] = (),
        report: Callable[[str, Any], None] | None = None,
    ):
        self.module = module
        self.held_out = held_out
        self.criterion = criterion
        self.likelihood = likelihood
        self.of_output = of_output
        self.member_batches = tuple(member_batches)
        self._batches, self._training, self._loss, self._score, self._report = batches, training, loss, score, report

    def batches(self) -> Iterable[Batch]:
        """Iterate over the data; see :meth:`Objective.batches`."""
        return self._batches()

    def training(self) -> Iterable[Batch]:
        """Iterate over an epoch of mini-batches; see :meth:`Objective.training`."""
        return (self._training or self._batches)()

    def loss(self, state: State) -> float:
        """Return the mean held-out loss of a state; see :meth:`Objective.loss`."""
        return super().loss(state) if self._loss is None else self._loss(self.whole(state))

    def score(self, state: State) -> float:
        """Return the held-out score of a state; see :meth:`Objective.score`."""
        return super().score(state) if self._score is None else self._score(self.whole(state))

    def report(self, name: str, value: Any) -> None:
        """Pass on what a method has computed; see :meth:`Objective.report`."""
        if self._report is not None:
            self._report(name, value)
