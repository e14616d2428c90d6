"""The objective of a net and its data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from skorch.dataset import unpack_data
from skorch.utils import to_device, to_tensor
from torch import Tensor, nn

from skfusion._random import seed_scope
from skfusion._rows import Rows, Task, one_of
from skfusion.data import Score, default_score
from skfusion.nets._prepare import criterion_type, targets, tensors
from skfusion.nets._runner import Runner, likelihood_of
from skfusion.nets._tensor_loader import TensorLoader
from skfusion.nets._train import prepared
from skfusion.nets.losses._weighted import weighted_mean
from skfusion.nets.vectorized._batched_predictor import FEW, BatchedPredictor
from skfusion.objective import Batch, Objective
from skfusion.state import State


class Judge(Objective):
    """Runs and judges states of one net: the objective that data-dependent methods ask.

    Parameters
    ----------
    runner : Runner
        The architecture.
    fit_rows : Rows
        Rows to estimate statistics and to train on; most methods need no labels.
    held_out : Rows
        Rows that no member was trained on.
    score : callable, optional
        ``score(prediction, rows)``; accuracy, or R2 in regression, when omitted.
    """

    def __init__(self, runner: Runner, fit_rows: Rows, held_out: Rows, score: Score | None = None):
        self.runner, self.rows = runner, held_out
        self.module = runner.module
        self.likelihood = likelihood_of(runner.net, runner.task)
        self._fit_rows = fit_rows
        self._epochs = Epochs(runner.net, fit_rows, runner.task)
        self._score = score or default_score(runner.task)
        # Accuracy asks which output is largest, which is so before a softmax too: it need not be computed.
        self._by_rank = getattr(self._score, "by_rank", False) and is_monotone(runner.net, runner.task)
        weight = None if held_out.weight is None else torch.from_numpy(held_out.weight).to(runner.device)
        y = tensors(targets(runner.net, held_out.y, runner.task), runner.dtype, runner.device)
        self._inputs = list(runner.chunks(held_out.X, 4096))  # small networks are called less often
        # skorch's own ``get_loss`` does not look at the inputs, so that they need not be in memory twice.
        reads_inputs = not str(type(runner.net).get_loss.__module__).startswith("skorch.")
        self._all = Batch(tensors(held_out.X, runner.dtype, runner.device) if reads_inputs else {}, y, weight)
        # By identity, as states are never written to; members are scored before a merger asks for their scores.
        self._known: list[tuple[State, float]] = []
        weighted = held_out.loss_weight is not None or fit_rows.loss_weight is not None
        if held_out.class_weight is not None:
            self.class_weight = torch.from_numpy(held_out.class_weight).to(runner.device)
        # Rows are weighed in ``criterion``, for which the net's criterion has to give the loss of each row.
        if weighted and hasattr(runner.net.criterion_, "reduction"):
            runner.net.criterion_.reduction = "none"

    def with_rows_of_members(self, positions: Sequence[np.ndarray]) -> Judge:
        """Return the judge, for which each member has rows of its own; see :meth:`Objective.of_member`.

        ``positions`` are those among the rows to fit on, one array a member. Known scores stay known.
        """
        judge = copy(self)
        judge.member_batches = tuple(partial(self._batches_of, self._fit_rows.take(index)) for index in positions)
        return judge

    def outputs(self, states: Iterable[State]) -> Iterator[Tensor]:
        """Iterate over the module's outputs for the held-out rows; see :meth:`Objective.evaluate`.

        Yields
        ------
        Tensor of shape (n_samples, ...)
            Logits or values of the next state, which may be made while it is asked for.
        """
        if len(self.rows) > FEW:  # whose outputs of a single state fill the memory
            yield from map(self._output, states)
            return
        states = iter(states)
        while some := [self.runner.on_device(self.whole(state)) for state in islice(states, 32)]:
            yield from BatchedPredictor(self.runner, some).raw(self._inputs)  # whose time is that of the calls

    def _output(self, state: State) -> Tensor:
        return self.runner.outputs([self.runner.on_device(self.whole(state))], self._inputs)[0]

    def criterion(self, out: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of a batch by its weights, for gradients too; see :meth:`Objective.loss`.

        It is what the net's ``get_loss`` gives with ``training=False``: terms that a net adds in training only are in
        none of the losses here, nor in those that methods train by.
        """
        loss: Tensor = self.runner.net.get_loss(out, batch.y, X=batch.x, training=False)
        if loss.ndim == 0:
            return loss
        if self.class_weight is not None:  # whose mean is 1: a batch is not divided by those of its own rows
            by_class = self.class_weight[batch.y.reshape(len(batch.y), -1)[:, 0].long()]
            loss = loss.reshape(len(loss), -1).mean(1) * by_class
        return weighted_mean(loss, batch.y, batch.weight, self.runner.net.criterion_)

    def of_output(self, out: Tensor) -> tuple[float, float]:
        """Return loss and score of the outputs for all held-out rows; see :meth:`Objective.evaluate`."""
        return self._loss_of(out), self._score_of(out)

    def _loss_of(self, out: Tensor) -> float:
        with torch.no_grad():
            return float(self.criterion(out, self._all))

    def _score_of(self, out: Tensor) -> float:
        if not self._by_rank:
            out = self.runner.link(out)
        elif out.dtype != torch.float32:  # numpy has no bfloat16; the ranks in it are those in single precision
            out = out.to(torch.promote_types(out.dtype, torch.float32))
        return self._score(out.numpy(force=True), self.rows)

    def members(self, states: Sequence[State]) -> list[tuple[np.ndarray, float]]:
        """Return predictions and score of each state, which is remembered for it; see :meth:`Objective.scores`."""
        predicted = []
        for state, out in zip(states, self.outputs(states), strict=True):
            predicted.append((self.runner.link(out).cpu().numpy(), self._score_of(out)))
            self._known.append((state, predicted[-1][1]))
        return predicted

    def loss(self, state: State) -> float:
        """Return the mean held-out loss of a state; see :meth:`Objective.loss`."""
        return self._loss_of(next(self.outputs([state])))

    def score(self, state: State) -> float:
        """Return the held-out score of a state; see :meth:`Objective.score`."""
        return self.scores([state])[0]

    def scores(self, states: Iterable[State]) -> list[float]:
        """Return the held-out score of each state; those of members are known; see :meth:`Objective.scores`."""
        known = {id(state): score for state, score in self._known}
        if len(self.rows) > FEW:
            return [known[id(s)] if id(s) in known else self._score_of(self._output(s)) for s in states]
        known_or_none: list[float | None] = []

        def unknown() -> Iterator[State]:
            for state in states:
                known_or_none.append(known.get(id(state)))
                if known_or_none[-1] is None:
                    yield state

        fresh = iter([self._score_of(out) for out in self.outputs(unknown())])
        return [next(fresh) if score is None else score for score in known_or_none]

    def evaluate(self, states: Iterable[State]) -> list[tuple[float, float]]:
        """Return loss and score of each state; see :meth:`Objective.evaluate`."""
        return [self.of_output(out) for out in self.outputs(states)]

    def batches(self) -> Iterator[Batch]:
        """Iterate over the rows to fit on, on the device of the net; see :meth:`Objective.batches`."""
        return self._batches_of(self._fit_rows)

    def held_out(self) -> Iterator[Batch]:
        """Iterate over the held-out rows, on the device of the net; see :meth:`Objective.batches`."""
        return self._batches_of(self.rows)

    def training(self) -> Iterator[Batch]:
        """Iterate over an epoch of the net's own mini-batches; see :meth:`Objective.training`."""
        return self._epochs()

    def _batches_of(self, rows: Rows) -> Iterator[Batch]:
        runner, start = self.runner, 0
        target = tensors(targets(runner.net, rows.y, runner.task), runner.dtype, runner.device)
        for x in runner.chunks(rows.X):
            here = slice(start, start + len(one_of(x)))
            w = None if rows.weight is None else torch.from_numpy(rows.weight[here]).to(runner.device)
            yield Batch(x, target[here], w)
            start = here.stop


class Epochs:
    """Epochs of a sized net's training data, by its dataset, split, loader and batch size. The net is not changed."""

    def __init__(self, net: Any, rows: Rows, task: Task):
        self._net, self._rows = net, rows if rows.task == task else replace(rows, task=task)
        self._loader: Any = None

    def __call__(self) -> Iterator[Batch]:
        """Iterate over an epoch of mini-batches; their order is drawn from torch's global generator."""
        device = self._net.device
        if self._loader is None:
            with seed_scope(0, device):
                rows = replace(self._rows, class_weight=None)  # which the criterion knows
                ready = prepared(self._net, rows)
                train, _ = ready.net.get_split_datasets(ready.X, ready.y)
            self._loader = ready.net.get_iterator(train, training=True)
        loader = self._loader
        generator = getattr(loader, "generator", None)
        if generator is not None:  # the net's own generator would go on from call to call
            generator.manual_seed(int(torch.randint(2**62, ())))
        weighted = isinstance(loader, TensorLoader) and loader.weight is not None
        for data in loader:
            x, y = (to_device(to_tensor(part, device or "cpu"), device or "cpu") for part in unpack_data(data))
            weight = loader.current_weight[0] if weighted else None
            if weight is not None and weight.ndim > 1:  # the further columns hold the weights of rows by their classes
                weight = weight[:, 0]
            yield Batch(x, y, weight)


def is_monotone(net: Any, task: Task) -> bool:
    """Return whether the largest output of a row has the largest probability, one output a class."""
    softmax = net.predict_nonlinearity == "auto" and issubclass(criterion_type(net), nn.CrossEntropyLoss)
    return task == "classification" and softmax
