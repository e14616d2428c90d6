"""Train many nets as one stack: skorch's loop for all of them, epoch by epoch, with their batches computed together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochScoring, GradientNormClipping, LRScheduler
from torch import Tensor, nn

from skfusion.nets._loader import TensorLoader
from skfusion.nets._proof import culprit, global_streams, line
from skfusion.nets._seat import Data, Job, Seat, member_of
from skfusion.nets._size import few_threads, seeded
from skfusion.nets._stackable import check_params
from skfusion.nets._watch import DivergedError, Watch
from skfusion.rows import Task
from skfusion.stacked import (
    Members,
    NotStackableError,
    Stack,
    attributes,
    clip_,
    difference,
    keep_freed_memory,
    lent,
    settings,
    stepper,
)

_LARGE = 2**23
"""Bytes of all members' parameters from which gradients are not gathered in a matrix."""


def fit_many(net: Any, task: Task, jobs: Sequence[Job]) -> list[Any]:
    """Train clones of a net as one stack.

    Members are those that :func:`skfusion.nets.fit` trains, to float tolerance. A member that is stopped by a callback,
    or diverges, leaves the stack after that epoch. The first batch is computed for the first member by itself, too:
    where loss, gradients and buffers are not the same, the net is not stacked.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    task : {"classification", "multilabel", "regression"}
        What the targets are.
    jobs : sequence of Job
        What to train.

    Returns
    -------
    list of skorch net or DivergedError
        A fitted net for each job, or why there is none.

    Raises
    ------
    NotStackableError
        If the net cannot be stacked; nothing has been trained then.
    """
    check_params(jobs)
    with seeded(0, net.device):
        seats: list[Seat] = []
        stack = Stack(_modules(net, task, jobs, seats), len(jobs))
        keep_freed_memory()
        with few_threads(seats[0].net.module_):
            return _Training(seats, stack).run()


def _modules(net: Any, task: Task, jobs: Sequence[Job], seats: list[Seat]) -> Iterator[nn.Module]:
    """Make the members one by one."""
    made: dict[Any, Any] = {}
    for job in jobs:
        seats.append(Seat(net, task, job, made))
        if seats[-1].form() != seats[0].form():
            raise NotStackableError("its members differ in rows, epochs, loss, optimiser or clipping")
        yield seats[-1].net.module_


class _Training:
    """The epochs of a stack; ``seats`` are those that still train."""

    def __init__(self, seats: list[Seat], stack: Stack):
        self.all = self.seats = seats
        self.failed: dict[int, DivergedError] = {}
        self.stack, self.data = stack, Data(seats)
        self.optimizer = stepper([s.net.optimizer_ for s in seats])(stack.theta)
        self.grad = self._room()
        self.clips = seats[0].callbacks(GradientNormClipping)
        self.proved = False

    def run(self) -> list[Any]:
        """Train to the end and return what became of each seat."""
        for _ in range(self.seats[0].net.max_epochs):
            if not self.seats:
                break
            self._epoch()
        del self.optimizer, self.grad
        self.stack.release(range(len(self.seats)))
        for seat in self.seats:
            self._leave(seat)
        return [self.failed.get(id(seat), seat.net) for seat in self.all]

    def _leave(self, seat: Seat) -> None:
        if id(seat) not in self.failed:
            with seat.drawing():
                seat.net.notify("on_train_end", X=seat.ready.X, y=seat.ready.y)
        seat.ready.finished()

    def _epoch(self) -> None:
        self._part({id(seat) for seat in self.seats if seat.notify("on_epoch_begin")})
        if not self.seats:
            return
        stopped = set()
        self._train()
        if self.seats[0].valid is not None:
            self._validate()
        for seat in self.seats:
            try:
                if seat.notify("on_epoch_end"):
                    stopped.add(id(seat))
            except DivergedError as error:
                self.failed[id(seat)] = error
                stopped.add(id(seat))
        if any(seat.foreign for seat in self.seats) and not self.stack.intact():
            raise NotStackableError("one of its callbacks replaced or froze parameters")
        self._part(stopped)

    def _part(self, stopped: set[int]) -> None:
        """Go on without the members that have stopped."""
        if not stopped:
            return
        left = [seat for seat in self.seats if id(seat) in stopped]
        kept = [k for k, seat in enumerate(self.seats) if id(seat) not in stopped]
        if kept:
            self.stack.keep(kept)
            self.optimizer.keep(self.stack.theta, kept)
            self.grad = self._room()
        else:
            self.stack.release(range(len(self.seats)))
        self.seats = [self.seats[k] for k in kept]
        for seat in left:
            self._leave(seat)

    def _train(self) -> None:
        for seat in self.seats:
            seat.net.history.new_batch()  # that stands for all of the epoch
        orders = self._orders([seat.loader for seat in self.seats])
        optimizers = self._with_spare([seat.net.optimizer_ for seat in self.seats])
        stepping = [(s, c) for s in self.seats for c in s.callbacks(Watch) if c.schedule is not None]
        stepped = [(s, c) for s in self.seats for c in s.callbacks(LRScheduler) if c.step_every == "batch"]
        given = settings(optimizers, self.stack.theta)
        total = torch.zeros(len(self.stack.theta), dtype=torch.float64, device=self.stack.theta.device)
        cuts = self.seats[0].loader.cuts
        streams = [seat.masks for seat in self.seats]
        streams += [torch.Generator(s.device) for s in streams][: len(self.stack.theta) - len(streams)]
        with self.stack.running(True, streams):
            for start, stop in cuts:
                for seat, callback in stepping:
                    callback.on_batch_begin(seat.net, training=True)
                if stepping or stepped:
                    given = settings(optimizers, self.stack.theta)
                batch = self.data.batch(orders[:, start:stop])
                if self.proved:
                    loss, _ = self._loss(batch, training=True)
                    grad = self._gradient(loss)
                else:
                    loss, grad = self._first(batch)
                for clip in self.clips:
                    if clip.gradient_clip_value is not None:
                        clip_(grad, clip.gradient_clip_value, float(clip.gradient_clip_norm_type))
                self.optimizer.step(grad, **given)
                total.add_(loss.detach(), alpha=stop - start)
                for seat, callback in stepped:
                    callback.on_batch_end(seat.net, training=True)
        self._record("train", total, cuts)

    def _first(self, batch: tuple[Any, Any, Any]) -> tuple[Tensor, Any]:
        """Return the losses and gradients of the first batch, compared with those of the first member by itself."""
        seat, stack = self.seats[0], self.stack
        module, name = seat.net.module_, type(seat.net.module_).__name__
        own = {key: t[0].clone() for key, t in (*stack.leaves.items(), *stack.held.items())}
        leaves = {key: own[key].requires_grad_() for key in stack.leaves}
        kept = attributes(module)
        with lent(module, own), seat.drawing(keep=False):
            x, y, weight = (member_of(part, 0) for part in batch)
            seat.weigh(weight)
            alone = seat.net.get_loss(seat.net.infer(x), y, X=x, training=True)
            asked = torch.autograd.grad(alone, list(leaves.values()), allow_unused=True)
        if (changed := difference(kept, attributes(module))) is not None:
            raise NotStackableError(f"{name} changes its attribute {changed!r} in its forward pass")
        before = global_streams()
        loss, grad = self._computed(batch)
        if global_streams() != before:
            raise NotStackableError(f"{name} draws random numbers in its forward pass")
        firsts = stack.by_name(grad[0]).values() if isinstance(grad, Tensor) else [part[0] for _, part in grad]
        found = dict(zip(leaves, firsts, strict=True))
        scale = max((float(g.abs().max()) for g in asked if g is not None), default=0.0) + 1e-6
        pairs = [(alone, loss[0], 1 + float(alone.detach().abs()))]
        pairs += [(g, found[key], scale) for key, g in zip(leaves, asked, strict=True) if g is not None]
        pairs += [(own[key], stack.held[key][0], 1.0) for key in stack.held]
        tolerance = 1e-2 if stack.theta.dtype in (torch.float32, torch.float64) else 0.2
        for a, b, size in pairs:
            if not torch.allclose(a.detach().double() / size, b.detach().double() / size, 0, tolerance, equal_nan=True):
                raise NotStackableError(f"{name} gives other gradients in a stack than alone")
        self.proved = True
        return loss, grad

    def _computed(self, batch: tuple[Any, Any, Any]) -> tuple[Tensor, Any]:
        """Return losses and gradients; what fails or is slow in a stack is named."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "There is a performance drop")  # vmap has no kernel for it
                loss, _ = self._loss(batch, training=True)
                return loss, self._gradient(loss)
        except NotStackableError:
            raise
        except Exception as error:
            raise NotStackableError(f"{culprit(error)} cannot be computed for many members: {line(error)}") from error

    def _room(self) -> Tensor | None:
        """Return a matrix for gradients, with which a step takes fewer calls; none where it would be large."""
        theta = self.stack.theta
        return torch.empty_like(theta) if theta.numel() * theta.element_size() <= _LARGE else None

    def _gradient(self, loss: Tensor) -> Any:
        """Return the gradients, in parts where they are large: a copy of them all is spared then."""
        if self.grad is not None:
            return self.stack.gradient(loss, out=self.grad)
        parts = self.stack.gradients(loss)
        return parts if self.proved and not self.clips else [*parts]

    def _validate(self) -> None:
        for seat in self.seats:
            seat.net.history.new_batch()
        loaders = [seat.valid for seat in self.seats if seat.valid is not None]
        orders = self._orders(loaders)
        total = torch.zeros(len(self.stack.theta), dtype=torch.float64, device=self.stack.theta.device)
        cuts, predicted, targets = loaders[0].cuts, [], []
        with torch.no_grad(), self.stack.running(False):
            for start, stop in cuts:
                batch = self.data.batch(orders[:, start:stop])
                loss, out = self._loss(batch, training=False)
                total.add_(loss, alpha=stop - start)
                predicted.append(out)
                targets.append(batch[1])
        self._record("valid", total, cuts)
        if any(seat.callbacks(EpochScoring) for seat in self.seats):
            for k, seat in enumerate(self.seats):
                for callback in seat.callbacks(EpochScoring):
                    for out, y in zip(predicted, targets, strict=True):
                        callback.on_batch_end(
                            seat.net, (None, member_of(y, k)), training=False, y_pred=member_of(out, k)
                        )

    def _orders(self, loaders: Sequence[TensorLoader]) -> Tensor:
        """Return the order of an epoch of each member, shape (n_members, n_samples)."""
        orders = []
        for seat, loader in zip(self.seats, loaders, strict=True):
            with seat.drawing():
                orders.append(loader.draw() + seat.offset)
        return torch.stack(self._with_spare(orders)).to(self.stack.theta.device)

    def _with_spare(self, items: list[Any]) -> list[Any]:
        """Return one item for each row of the stack, where a single member has two."""
        return items * (len(self.stack.theta) // len(items))

    def _loss(self, batch: tuple[Any, Any, Any], training: bool) -> tuple[Tensor, Any]:
        """Return the loss of each member on a batch, shape (n_members,), and the output."""
        net, (x, y, weight) = self.seats[0].net, batch
        if weight is not None:
            self.seats[0].loader.current_weight[0] = weight  # type: ignore[index]
        if type(net).infer is not NeuralNet.infer:
            out = net.infer(x)
        else:  # what infer does with tensors that are in their place
            out = net.module_(**x) if isinstance(x, dict) else net.module_(x)
        loss = net.get_loss(out, y, X=x, training=training)
        if not isinstance(loss, Members) or loss.dim():
            raise NotStackableError("its loss is not one number for each member")
        return loss.value, out

    def _record(self, prefix: str, total: Tensor, cuts: Sequence[tuple[int, int]]) -> None:
        """Write the mean loss of the epoch into each history."""
        n = cuts[-1][1]
        for seat, loss in zip(self.seats, (total / n).tolist(), strict=False):
            history = seat.net.history
            history.record_batch(f"{prefix}_loss", loss)
            history.record_batch(f"{prefix}_batch_size", n)
            history.record(f"{prefix}_batch_count", len(cuts))
