"""Objectives for the methods that ask for data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from skfusion._rows import Rows, one_of
from skfusion.nets._epochs import Epochs
from skfusion.nets._prepare import targets, tensors
from skfusion.nets._runner import Runner
from skfusion.nets.losses._output import Score, default_score, keeps_order, likelihood_of
from skfusion.nets.losses._weighted import weighted_mean
from skfusion.nets.vectorized._batched_predictor import FEW, BatchedPredictor
from skfusion.objective import Batch, Objective
from skfusion.state import State


class Judge:
    """Judges states of one architecture on held-out rows.

    Parameters
    ----------
    runner : Runner
        The architecture.
    held_out : Rows
        Rows that no member was trained on.
    score : callable, optional
        ``score(prediction, rows)``; accuracy, or R2 in regression, when omitted.
    """

    def __init__(self, runner: Runner, held_out: Rows, score: Score | None = None):
        self.runner, self.held_out = runner, held_out
        self._score = score or default_score(runner.task)
        self._by_rank = getattr(self._score, "by_rank", False) and keeps_order(runner.net, runner.task)
        weight = None if held_out.weight is None else torch.from_numpy(held_out.weight).to(runner.device)
        y = tensors(targets(runner.net, held_out.y, runner.task), runner.dtype, runner.device)
        self._inputs = list(runner.chunks(held_out.X))
        own = not str(type(runner.net).get_loss.__module__).startswith("skorch.")  # only then are inputs asked for
        self._all = Batch(tensors(held_out.X, runner.dtype, runner.device) if own else {}, y, weight)
        self._known: list[tuple[State, float]] = []

    def outputs(self, states: Iterable[State]) -> Iterator[Tensor]:
        """Iterate over the module's outputs for the held-out rows.

        Parameters
        ----------
        states : iterable of State
            The weights.

        Yields
        ------
        Tensor of shape (n_samples, ...)
            Logits or values of the next state.
        """
        at_a_time = 1 if len(self.held_out) > FEW else 32
        states = iter(states)
        while some := [self.runner.on_device(state) for state in islice(states, at_a_time)]:
            yield from BatchedPredictor(self.runner, some).raw(self._inputs)

    def criterion(self, out: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of a batch by its weights, as the net's ``get_loss`` gives it with ``training=False``.

        Terms that a net adds in training only are in none of the losses here, nor in those that methods train by.

        Parameters
        ----------
        out : Tensor of shape (n_rows, ...)
            The module's output.
        batch : Batch
            Its inputs, targets and weights.

        Returns
        -------
        Tensor
            One number, through which gradients pass.
        """
        found = self.runner.net.get_loss(out, batch.y, X=batch.x, training=False)
        if found.ndim == 0:
            return found
        return weighted_mean(found, batch.y, batch.weight, self.runner.net.criterion_)

    def loss_of(self, out: Tensor) -> float:
        """Return the mean held-out loss of outputs.

        Parameters
        ----------
        out : Tensor of shape (n_samples, ...)
            The module's output for the held-out rows.

        Returns
        -------
        float
            The loss.
        """
        with torch.no_grad():
            return float(self.criterion(out, self._all))

    def score_of(self, out: Tensor) -> float:
        """Return the held-out score of outputs.

        Parameters
        ----------
        out : Tensor of shape (n_samples, ...)
            The module's output for the held-out rows.

        Returns
        -------
        float
            Higher is better.
        """
        # of what is bfloat16, which numpy has not, the ranks are those in single precision
        found = out.to(torch.promote_types(out.dtype, torch.float32)) if self._by_rank else self.runner.link(out)
        return self._score(found.cpu().numpy(), self.held_out)

    def members(self, states: Sequence[State]) -> list[tuple[np.ndarray, float]]:
        """Return held-out predictions and the score of each state, which is remembered for the state.

        Parameters
        ----------
        states : sequence of State
            The weights.

        Returns
        -------
        list of (ndarray of shape (n_samples, n_outputs), float)
            Predictions and score.
        """
        found = []
        for state, out in zip(states, self.outputs(states), strict=True):
            found.append((self.runner.link(out).cpu().numpy(), self.score_of(out)))
            self._known.append((state, found[-1][1]))
        return found

    def scores(self, states: Iterable[State]) -> list[float]:
        """Return the held-out score of each state.

        Parameters
        ----------
        states : iterable of State
            The weights.

        Returns
        -------
        list of float
            Higher is better.
        """
        known = {id(state): score for state, score in self._known}
        asked: list[float | None] = []

        def unknown() -> Iterator[State]:
            for state in states:
                asked.append(known.get(id(state)))
                if asked[-1] is None:
                    yield state

        found = [self.score_of(out) for out in self.outputs(unknown())]
        fresh = iter(found)
        return [next(fresh) if score is None else score for score in asked]

    def losses(self, states: Iterable[State]) -> list[float]:
        """Return the mean held-out loss of each state.

        Parameters
        ----------
        states : iterable of State
            The weights.

        Returns
        -------
        list of float
            The losses.
        """
        return [self.loss_of(out) for out in self.outputs(states)]

    def both(self, states: Iterable[State]) -> list[tuple[float, float]]:
        """Return loss and score of each state.

        Parameters
        ----------
        states : iterable of State
            The weights.

        Returns
        -------
        list of (float, float)
            Loss and score.
        """
        return [self.of_output(out) for out in self.outputs(states)]

    def of_output(self, out: Tensor) -> tuple[float, float]:
        """Return loss and score of outputs.

        Parameters
        ----------
        out : Tensor of shape (n_samples, ...)
            The module's output for the held-out rows.

        Returns
        -------
        (float, float)
            Loss and score.
        """
        return self.loss_of(out), self.score_of(out)

    def batches(self, rows: Rows) -> Iterator[Batch]:
        """Iterate over rows as batches, on the device of the net.

        Parameters
        ----------
        rows : Rows
            What to go through.

        Yields
        ------
        Batch
            Some rows.
        """
        runner, start = self.runner, 0
        target = tensors(targets(runner.net, rows.y, runner.task), runner.dtype, runner.device)
        for x in runner.chunks(rows.X):
            here = slice(start, start + len(one_of(x)))
            w = None if rows.weight is None else torch.from_numpy(rows.weight[here]).to(runner.device)
            yield Batch(x, target[here], w)
            start = here.stop

    def objective(self, fit_rows: Rows, own: Sequence[np.ndarray] = ()) -> Objective:
        """Return what data-dependent methods may ask of the net and its data.

        Parameters
        ----------
        fit_rows : Rows
            Rows to estimate statistics on.
        own : sequence of ndarray of int, optional
            Which of them each member was trained on, where members were trained on unlike rows.

        Returns
        -------
        Objective
            In torch terms.
        """
        weighted = self.held_out.weight is not None or fit_rows.weight is not None
        if weighted and hasattr(self.runner.net.criterion_, "reduction"):
            self.runner.net.criterion_.reduction = "none"
        return Objective(
            self.runner.module,
            partial(self.batches, fit_rows),
            lambda state: self.losses([state])[0],
            lambda state: self.scores([state])[0],
            self.scores,
            self.both,
            of_output=self.of_output,
            held_out=partial(self.batches, self.held_out),
            training=Epochs(self.runner.net, fit_rows, self.runner.task),
            criterion=self.criterion,
            likelihood=likelihood_of(self.runner.net, self.runner.task),
            own=tuple(partial(self.batches, fit_rows.take(index)) for index in own),
        )


def objective(runner: Runner, fit_rows: Rows, held_out: Rows, score: Score | None = None) -> Objective:
    """Return what data-dependent methods may ask of a net and its data.

    Parameters
    ----------
    runner : Runner
        The architecture.
    fit_rows : Rows
        Rows to estimate statistics on; labels are not needed.
    held_out : Rows
        Rows that no member was trained on.
    score : callable, optional
        ``score(prediction, rows)``; accuracy, or R2 in regression, when omitted.

    Returns
    -------
    Objective
        In torch terms.
    """
    return Judge(runner, held_out, score).objective(fit_rows)
