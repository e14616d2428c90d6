"""Train many nets as one: skorch's loop for all of them, epoch by epoch, with their batches computed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochScoring, GradientNormClipping, LRScheduler
from torch import Tensor, nn

from skfusion._rows import Rows
from skfusion._vectorized import (
    Members,
    NotVectorizableError,
    VectorizedModules,
    attributes,
    clip_gradients,
    current_settings,
    difference,
    keep_freed_memory,
    member_of,
    member_optimizer,
)
from skfusion.nets._population import LockStep, Population
from skfusion.nets._prepare import few_threads, seed_scope
from skfusion.nets._tensor_loader import TensorLoader
from skfusion.nets._training_callback import DivergedError, Run, Watch
from skfusion.nets.vectorized._draws import fast_and_without_draws, without_draws
from skfusion.nets.vectorized._epoch_scores import joined
from skfusion.nets.vectorized._equivalence import (
    check_first_batch,
    check_intact,
    check_params,
    check_same_setup,
    hand_out,
    reason,
)
from skfusion.nets.vectorized._member import SharedRows, TrainingMember

_LARGE = 2**22
"""Bytes of a member's parameters up to which gradients are gathered in a matrix; rounding must not depend on others."""


def fit_many(
    net: Any, rows: Rows, runs: Sequence[Run], watches: Sequence[Watch], population: Population | None = None
) -> list[Any]:
    """Train clones of a net as one; return for each run the fitted net, or the error if it diverged.

    Members are those that :func:`skfusion.nets.fit` trains, to float tolerance; a ``population`` may act on their
    weights after each step. A member that is stopped by a callback, or diverges, leaves the others after that epoch.
    The first batch is computed for one member alone, too: where loss, gradients or buffers differ, or anything else
    cannot be vectorized, which may show in any epoch, :class:`NotVectorizableError` is raised and nothing that was
    trained is left.
    """
    check_params(runs)
    try:
        with seed_scope(0, net.device):
            members: list[TrainingMember] = []
            vectorized = VectorizedModules(_modules(net, rows, runs, watches, members), len(runs))
            keep_freed_memory()
            with few_threads(members[0].net.module_):
                return _Training(members, vectorized, population).run()
    except NotVectorizableError:
        raise
    except Exception as error:  # also one of the user's code, which the loop meets again and reports
        raise NotVectorizableError(reason(error)) from error


def _modules(
    net: Any, rows: Rows, runs: Sequence[Run], watches: Sequence[Watch], members: list[TrainingMember]
) -> Iterator[nn.Module]:
    """Make the members one by one, so that each can give up its own memory before the next is made."""
    made: dict[Any, Any] = {}
    for run, watch in zip(runs, watches, strict=True):
        member = TrainingMember(net, rows, run, watch, made)
        member.notify_of_training("on_train_begin")
        member.load()
        members.append(member)
        if member.setup() != members[0].setup():
            raise NotVectorizableError("its members differ in rows, epochs, loss, optimiser or clipping")
        if (name := difference(members[0].criterion_attributes(), member.criterion_attributes())) is not None:
            raise NotVectorizableError(f"its members differ in the attribute {name!r} of {type(member.net).__name__}")
        yield member.net.module_


class _Training:
    """The epochs of all members; ``members`` are those that still train."""

    def __init__(
        self, members: list[TrainingMember], vectorized: VectorizedModules, population: Population | None = None
    ):
        self.all = self.members = members
        self.lock_step = None if population is None else LockStep(population)
        self.failed: dict[int, DivergedError] = {}
        self.vectorized = vectorized
        self.rows = self.held_out = SharedRows([m.loader for m in members], members[0].device)
        valid = [m.valid for m in members if m.valid is not None]
        if any(v.dataset is not m.loader.dataset for m, v in zip(members, valid, strict=False)):
            self.held_out = SharedRows(valid, members[0].device)
        self.optimizer = member_optimizer([m.net.optimizer_ for m in members])(vectorized.theta)
        self.grad = self._gradient_matrix()
        self.clips = members[0].callbacks(GradientNormClipping)
        self.user_callbacks = any(member.has_user_callback for member in members)
        self.name = type(members[0].net.module_).__name__
        self.compared = self.validated = False

    def run(self) -> list[Any]:
        """Train to the end; return the net of each member, or the error of one that diverged."""
        for _ in range(self.members[0].net.max_epochs):
            if not self.members:
                break
            self._epoch()
        del self.optimizer, self.grad
        self.vectorized.release(range(len(self.members)))
        for member in self.members:
            self._leave(member)
        return [self.failed.get(id(member), member.net) for member in self.all]

    def _leave(self, member: TrainingMember) -> None:
        if id(member) not in self.failed:
            with member.drawing():
                member.notify_of_training("on_train_end")
        member.finished()

    def _epoch(self) -> None:
        self._go_on_without({id(member) for member in self.members if member.notify("on_epoch_begin")})
        if not self.members:
            return
        if self.user_callbacks:
            check_same_setup(self.vectorized, self.members)
        self._train()
        if self.members[0].valid is not None:
            self._validate()
        stopped = set()
        for member in self.members:
            try:
                if member.notify("on_epoch_end"):
                    stopped.add(id(member))
            except DivergedError as error:
                self.failed[id(member)] = error
                stopped.add(id(member))
        self._go_on_without(stopped)

    def _go_on_without(self, stopped: set[int]) -> None:
        """Let members leave that have stopped."""
        if not stopped:
            return
        if self.user_callbacks:
            check_intact(self.vectorized, self.members)
        leaving = [member for member in self.members if id(member) in stopped]
        kept = [k for k, member in enumerate(self.members) if id(member) not in stopped]
        if kept:
            self.vectorized.keep(kept)
            self.optimizer.keep(self.vectorized.theta, kept)
            self.grad = self._gradient_matrix()
        else:
            self.vectorized.release(range(len(self.members)))
        self.members = [self.members[k] for k in kept]
        for member in leaving:
            self._leave(member)

    def _train(self) -> None:
        members, vectorized = self.members, self.vectorized
        for member in members:
            member.net.history.new_batch()  # one that stands for all batches of the epoch
        orders = self._orders([member.loader for member in members])
        optimizers = self._with_spare([member.net.optimizer_ for member in members])
        stepping = [member for member in members if member.watch.acts_by_step]
        schedulers = [(m, c) for m in members for c in m.callbacks(LRScheduler) if c.step_every == "batch"]
        settings = current_settings(optimizers, vectorized.theta)
        total = torch.zeros(len(vectorized.theta), dtype=torch.float64, device=vectorized.theta.device)
        cuts = members[0].loader.cuts
        parameters = [dict(m.net.module_.named_parameters()) for m in members] if self.user_callbacks else []
        generators = [member.mask_generator for member in members]
        # A single member has a spare row in theta, whose masks are not to be drawn from its own generator.
        generators += [torch.Generator(g.device) for g in generators][: len(vectorized.theta) - len(generators)]
        recording = [(k, member) for k, member in enumerate(members) if member.watch.records_steps]
        self._record_step(recording, before=True)
        with without_draws(self.name), vectorized.running(True, generators):
            for (start, stop), batch in zip(cuts, self.rows.batches(orders, cuts), strict=True):
                for member in stepping:
                    member.watch.set_rates(member.net)
                if stepping or schedulers:
                    settings = current_settings(optimizers, vectorized.theta)
                if self.compared:
                    loss, grad = self._computed(batch)
                else:
                    loss, grad = check_first_batch(
                        vectorized, members, batch, lambda batch=batch: self._computed(batch)
                    )
                    self.compared = True
                for clip in self.clips:
                    if clip.gradient_clip_value is not None:
                        clip_gradients(grad, clip.gradient_clip_value, float(clip.gradient_clip_norm_type))
                if self.user_callbacks and stop == cuts[-1][1]:
                    hand_out(grad, vectorized, parameters)
                self.optimizer.step(grad, **settings)
                if self.lock_step is not None:
                    nets = [member.net for member in members]
                    self.lock_step.after_step(nets, len(cuts), vectorized.averaged, vectorized.state_of)
                total.add_(loss.detach(), alpha=stop - start)
                for member, callback in schedulers:
                    callback.on_batch_end(member.net, training=True)
                self._record_step(recording)
        self._record("train", total, cuts)

    def _record_step(self, recording: Sequence[tuple[int, TrainingMember]], before: bool = False) -> None:
        """Let recorders that ask for it see the state of their member, which is its row of the member axis."""
        for k, member in recording:
            if before == (member.watch.step == 0):
                member.watch.record_step(member.net, self.vectorized.state_of(k))

    def _computed(self, batch: tuple[Any, Any, Any]) -> tuple[Tensor, Any]:
        loss, _ = self._loss(batch, training=True)
        return loss, self._gradient(loss)

    def _gradient_matrix(self) -> Tensor | None:
        """Return a matrix for gradients, with which a step takes less time; None where it would be large."""
        theta = self.vectorized.theta
        return torch.empty_like(theta) if theta[0].numel() * theta.element_size() <= _LARGE else None

    def _gradient(self, loss: Tensor) -> Any:
        """Return the gradients, in parts where they are large, which spares a copy of them all."""
        if self.grad is not None:
            return self.vectorized.gradient(loss, out=self.grad)
        parts = self.vectorized.gradients(loss)
        return parts if self.compared and not self.clips and not self.user_callbacks else [*parts]

    def _validate(self) -> None:
        for member in self.members:
            member.net.history.new_batch()
        loaders = [member.valid for member in self.members if member.valid is not None]
        orders = self._orders(loaders)
        theta = self.vectorized.theta
        total = torch.zeros(len(theta), dtype=torch.float64, device=theta.device)
        cuts, predicted, targets = loaders[0].cuts, [], []
        module = self.members[0].net.module_.eval()
        before = None if self.validated else attributes(module)
        guard = without_draws if self.validated else fast_and_without_draws
        with torch.no_grad(), guard(self.name), self.vectorized.running(False):
            for (start, stop), batch in zip(cuts, self.held_out.batches(orders, cuts), strict=True):
                loss, out = self._loss(batch, training=False)
                total.add_(loss, alpha=stop - start)
                predicted.append(out)
                targets.append(batch[1])
        self.members[0].weigh(None, training=False)
        if before is not None and (name := difference(before, attributes(module))) is not None:
            raise NotVectorizableError(f"{self.name} changes its attribute {name!r} in its forward pass")
        self.validated = True
        self._record("valid", total, cuts)
        if not self.user_callbacks:
            predicted, targets = joined(predicted, targets)
        for k, member in enumerate(self.members):
            for callback in member.callbacks(EpochScoring):
                for out, y in zip(predicted, targets, strict=True):
                    part = {"y_pred": member_of(out, k)}
                    callback.on_batch_end(member.net, (None, member_of(y, k)), training=False, **part)

    def _orders(self, loaders: Sequence[TensorLoader]) -> Tensor:
        """Return the order of an epoch of each member, shape (n_members, n_samples)."""
        orders = torch.empty(len(self.vectorized.theta), loaders[0].cuts[-1][1], dtype=torch.int64)
        for k, (member, loader) in enumerate(zip(self.members, loaders, strict=True)):
            with member.drawing(numpy=False):
                orders[k] = loader.draw()[: orders.shape[1]]
        orders[len(loaders) :] = orders[0]  # a spare row
        return orders.to(self.vectorized.theta.device)

    def _with_spare(self, items: list[Any]) -> list[Any]:
        """Return one item for each row of ``theta``, where a single member has two."""
        return items * (len(self.vectorized.theta) // len(items))

    def _loss(self, batch: tuple[Any, Any, Any], training: bool) -> tuple[Tensor, Any]:
        """Return the loss of each member on a batch, shape (n_members,), and the output."""
        net, (x, y, weight) = self.members[0].net, batch
        if weight is not None:
            self.members[0].weigh(weight, training)
        if type(net).infer is not NeuralNet.infer:
            out = net.infer(x)
        else:  # what infer does with tensors that are on the device already
            out = net.module_(**x) if isinstance(x, dict) else net.module_(x)
        loss = net.get_loss(out, y, X=x, training=training)
        if not isinstance(loss, Members) or loss.dim():
            raise NotVectorizableError("its loss is not one number for each member")
        return loss.value, out

    def _record(self, prefix: str, total: Tensor, cuts: Sequence[tuple[int, int]]) -> None:
        """Write the mean loss of the epoch into each history."""
        n = cuts[-1][1]
        for member, loss in zip(self.members, (total / n).tolist(), strict=False):
            history = member.net.history
            history.record_batch(f"{prefix}_loss", loss)
            history.record_batch(f"{prefix}_batch_size", n)
            history.record(f"{prefix}_batch_count", len(cuts))
