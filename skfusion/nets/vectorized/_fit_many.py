"""Train many nets as one stack: skorch's loop for all of them, epoch by epoch, with their batches computed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochScoring, GradientNormClipping, LRScheduler
from torch import Tensor, nn

from skfusion._vectorized import (
    Members,
    NotVectorizableError,
    Stack,
    attributes,
    clip_,
    difference,
    keep_freed_memory,
    settings,
    stepper,
)
from skfusion.nets._loader import TensorLoader
from skfusion.nets._prepare import few_threads, seeded
from skfusion.nets._training_callback import DivergedError
from skfusion.nets.vectorized._callbacks import check_alike, check_intact, hand_out
from skfusion.nets.vectorized._equivalence import fast_and_without_draws, prove, reason, without_draws
from skfusion.nets.vectorized._member import Data, Job, TrainingMember, member_of
from skfusion.nets.vectorized._supported import check_params, common, has_own_loss, speaking_for_all

_LARGE = 2**23
"""Bytes of all members' parameters from which gradients are not gathered in a matrix."""


def fit_many(net: Any, jobs: Sequence[Job]) -> list[Any]:
    """Train clones of a net as one stack.

    Members are those that :func:`skfusion.nets.fit` trains, to float tolerance. A member that is stopped by a callback,
    or diverges, leaves the stack after that epoch. The first batch is computed for one member by itself, too: where
    loss, gradients and buffers are not the same, the net is not stacked.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    jobs : sequence of Job
        What to train.

    Returns
    -------
    list of skorch net or DivergedError
        A fitted net for each job, or why there is none.

    Raises
    ------
    NotVectorizableError
        If the net cannot be stacked, which may show in any epoch; nothing that was trained is left then.
    """
    check_params(jobs)
    try:
        with seeded(0, net.device):
            seats: list[TrainingMember] = []
            stack = Stack(_modules(net, jobs, seats), len(jobs))
            keep_freed_memory()
            own = {name for job in jobs for name in job.params}
            with few_threads(seats[0].net.module_):
                return _Training(seats, stack, own).run()
    except NotVectorizableError:
        raise
    except Exception as error:  # also one of the user's, which the loop meets again
        raise NotVectorizableError(reason(error)) from error


def _modules(net: Any, jobs: Sequence[Job], seats: list[TrainingMember]) -> Iterator[nn.Module]:
    """Make the members one by one."""
    made: dict[Any, Any] = {}
    beside: dict[str, Any] = {}
    for job in jobs:
        seat = TrainingMember(net, job, made)
        seat.begin()
        seat.load()
        seats.append(seat)
        beside = beside or seat.beside()
        if seat.form() != seats[0].form():
            raise NotVectorizableError("its members differ in rows, epochs, loss, optimiser or clipping")
        if (name := difference(beside, seat.beside())) is not None:
            raise NotVectorizableError(f"its members differ in the attribute {name!r} of {type(seat.net).__name__}")
        yield seat.net.module_


class _Training:
    """The epochs of a stack; ``seats`` are those that still train, ``own`` what members have own parameters for."""

    def __init__(self, seats: list[TrainingMember], stack: Stack, own: set[str]):
        self.all = self.seats = seats
        self.failed: dict[int, DivergedError] = {}
        self.stack = stack
        self.data = self.held_out = Data([s.loader for s in seats], seats[0].device)
        valid = [s.valid for s in seats if s.valid is not None]
        if any(v.dataset is not s.loader.dataset for s, v in zip(seats, valid, strict=False)):
            self.held_out = Data(valid, seats[0].device)
        self.optimizer = stepper([s.net.optimizer_ for s in seats])(stack.theta)
        self.grad = self._room()
        self.clips = seats[0].callbacks(GradientNormClipping)
        self.foreign = any(seat.foreign for seat in seats)
        self.common = common(seats[0].net, own) if has_own_loss(seats[0].net) else None
        self.name = type(seats[0].net.module_).__name__
        self.proved = self.validated = False

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

    def _leave(self, seat: TrainingMember) -> None:
        if id(seat) not in self.failed:
            seat.leave()
        seat.finished()

    def _epoch(self) -> None:
        self._part({id(seat) for seat in self.seats if seat.notify("on_epoch_begin")})
        if not self.seats:
            return
        if self.foreign:
            check_alike(self.stack, self.seats)
        self._train()
        if self.seats[0].valid is not None:
            self._validate()
        stopped = set()
        for seat in self.seats:
            try:
                if seat.notify("on_epoch_end"):
                    stopped.add(id(seat))
            except DivergedError as error:
                self.failed[id(seat)] = error
                stopped.add(id(seat))
        self._part(stopped)

    def _part(self, stopped: set[int]) -> None:
        """Go on without the members that have stopped."""
        if not stopped:
            return
        if self.foreign:
            check_intact(self.stack, self.seats)
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
        orders = self._orders(self.data, [seat.loader for seat in self.seats])
        optimizers = self._with_spare([seat.net.optimizer_ for seat in self.seats])
        stepping = [seat for seat in self.seats if seat.watch.acts_by_step]
        stepped = [(s, c) for s in self.seats for c in s.callbacks(LRScheduler) if c.step_every == "batch"]
        given = settings(optimizers, self.stack.theta)
        total = torch.zeros(len(self.stack.theta), dtype=torch.float64, device=self.stack.theta.device)
        cuts = self.seats[0].loader.cuts
        owners = [dict(seat.net.module_.named_parameters()) for seat in self.seats] if self.foreign else []
        streams = [seat.masks for seat in self.seats]
        streams += [torch.Generator(s.device) for s in streams][: len(self.stack.theta) - len(streams)]
        self._record_step(before=True)
        with without_draws(self.name), self.stack.running(True, streams):
            for start, stop in cuts:
                for seat in stepping:
                    seat.watch.set_rates(seat.net)
                if stepping or stepped:
                    given = settings(optimizers, self.stack.theta)
                batch = self.data.batch(orders[:, start:stop])
                if self.proved:
                    loss, grad = self._computed(batch)
                else:
                    loss, grad = prove(self.stack, self.seats, batch, lambda batch=batch: self._computed(batch))
                    self.proved = True
                for clip in self.clips:
                    if clip.gradient_clip_value is not None:
                        clip_(grad, clip.gradient_clip_value, float(clip.gradient_clip_norm_type))
                if self.foreign and stop == cuts[-1][1]:
                    hand_out(grad, self.stack, owners)
                self.optimizer.step(grad, **given)
                total.add_(loss.detach(), alpha=stop - start)
                for seat, callback in stepped:
                    callback.on_batch_end(seat.net, training=True)
                self._record_step()
        self._record("train", total, cuts)

    def _record_step(self, before: bool = False) -> None:
        """Let recorders that ask for it see the state of their member, which is its row of the member axis."""
        for k, seat in enumerate(self.seats):
            if seat.watch.records_steps and before == (seat.watch.step == 0):
                seat.watch.record_step(seat.net, self.stack.state_of(k))

    def _computed(self, batch: tuple[Any, Any, Any]) -> tuple[Tensor, Any]:
        loss, _ = self._loss(batch, training=True)
        return loss, self._gradient(loss)

    def _room(self) -> Tensor | None:
        """Return a matrix for gradients, with which a step takes fewer calls; none where it would be large."""
        theta = self.stack.theta
        return torch.empty_like(theta) if theta.numel() * theta.element_size() <= _LARGE else None

    def _gradient(self, loss: Tensor) -> Any:
        """Return the gradients, in parts where they are large: a copy of them all is spared then."""
        if self.grad is not None:
            return self.stack.gradient(loss, out=self.grad)
        parts = self.stack.gradients(loss)
        return parts if self.proved and not self.clips and not self.foreign else [*parts]

    def _validate(self) -> None:
        for seat in self.seats:
            seat.net.history.new_batch()
        loaders = [seat.valid for seat in self.seats if seat.valid is not None]
        orders = self._orders(self.held_out, loaders)
        total = torch.zeros(len(self.stack.theta), dtype=torch.float64, device=self.stack.theta.device)
        cuts, predicted, targets = loaders[0].cuts, [], []
        module = self.seats[0].net.module_.eval()
        kept = None if self.validated else attributes(module)
        watch = without_draws if self.validated else fast_and_without_draws
        with torch.no_grad(), watch(self.name), self.stack.running(False):
            for start, stop in cuts:
                batch = self.held_out.batch(orders[:, start:stop])
                loss, out = self._loss(batch, training=False)
                total.add_(loss, alpha=stop - start)
                predicted.append(out)
                targets.append(batch[1])
        if kept is not None and (name := difference(kept, attributes(module))) is not None:
            raise NotVectorizableError(f"{self.name} changes its attribute {name!r} in its forward pass")
        self.validated = True
        self._record("valid", total, cuts)
        if any(seat.callbacks(EpochScoring) for seat in self.seats):
            for k, seat in enumerate(self.seats):
                for callback in seat.callbacks(EpochScoring):
                    for out, y in zip(predicted, targets, strict=True):
                        callback.on_batch_end(
                            seat.net, (None, member_of(y, k)), training=False, y_pred=member_of(out, k)
                        )

    def _orders(self, data: Data, loaders: Sequence[TensorLoader]) -> Tensor:
        """Return the order of an epoch of each member, shape (n_members, n_samples)."""
        orders = torch.empty(len(self.stack.theta), loaders[0].cuts[-1][1], dtype=torch.int64)
        for k, (seat, loader) in enumerate(zip(self.seats, loaders, strict=True)):
            with seat.drawing():
                orders[k] = data.order(loader)[: orders.shape[1]]
        orders[len(loaders) :] = orders[0]  # a spare row
        return orders.to(self.stack.theta.device)

    def _with_spare(self, items: list[Any]) -> list[Any]:
        """Return one item for each row of the stack, where a single member has two."""
        return items * (len(self.stack.theta) // len(items))

    def _loss(self, batch: tuple[Any, Any, Any], training: bool) -> tuple[Tensor, Any]:
        """Return the loss of each member on a batch, shape (n_members,), and the output."""
        net, (x, y, weight) = self.seats[0].net, batch
        if weight is not None:
            self.seats[0].loader.current_weight[0] = weight  # type: ignore[index]
        with speaking_for_all(net, self.common):
            if type(net).infer is not NeuralNet.infer:
                out = net.infer(x)
            else:  # what infer does with tensors that are in their place
                out = net.module_(**x) if isinstance(x, dict) else net.module_(x)
            loss = net.get_loss(out, y, X=x, training=training)
        if not isinstance(loss, Members) or loss.dim():
            raise NotVectorizableError("its loss is not one number for each member")
        return loss.value, out

    def _record(self, prefix: str, total: Tensor, cuts: Sequence[tuple[int, int]]) -> None:
        """Write the mean loss of the epoch into each history."""
        n = cuts[-1][1]
        for seat, loss in zip(self.seats, (total / n).tolist(), strict=False):
            history = seat.net.history
            history.record_batch(f"{prefix}_loss", loss)
            history.record_batch(f"{prefix}_batch_size", n)
            history.record(f"{prefix}_batch_count", len(cuts))
