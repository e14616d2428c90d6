"""Train the nets of a population in turn, step by step, by skorch's own training steps.

For nets that cannot be vectorized: each has its own random generators, callbacks and optimiser, as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from sklearn.base import clone
from skorch.dataset import get_len
from torch import Tensor

from skfusion._random import Draws, seed_scope
from skfusion._rows import Rows
from skfusion.nets._embeddings import index_error
from skfusion.nets._optimizer_modes import optimizers_with_modes
from skfusion.nets._population import LockStep, Population
from skfusion.nets._prepare import dtype_of, few_threads, tensors
from skfusion.nets._train import looping, prepared
from skfusion.nets._training_callback import DivergedError, Run, Watch, state_of
from skfusion.state import State, is_statistic

_NOT_OVERRIDDEN = ("fit_loop", "run_single_epoch")
"""Methods that are cut into steps here."""


def fit_in_turn(
    net: Any, rows: Rows, runs: Sequence[Run], watches: Sequence[Watch], population: Population
) -> list[Any]:
    """Train clones of a net in turn, a step each; return for each run the fitted net, or the error if it diverged.

    Where the population does nothing, members are those of :func:`skfusion.nets.fit`, bit for bit. One that a callback
    ends, or that diverges, is as it is then, and the others go on without it.
    """
    _check_loop(net)
    with seed_scope(0, net.device):
        made: dict[Any, Any] = {}
        members = [_Member(net, rows, run, watch, made) for run, watch in zip(runs, watches, strict=True)]
        lock_step, going = LockStep(population), members
        with few_threads(members[0].net.module_):
            while going := [member for member in going if member.takes_a_step()]:
                _check_same_length(going)
                _meet(lock_step, [member.net for member in going], going[0].steps_per_epoch)
    return [member.failure or member.ready.finished() for member in members]


class _Member:
    """A net that is trained a step at a time."""

    def __init__(self, net: Any, rows: Rows, run: Run, watch: Watch, made: dict[Any, Any]):
        self.name, self.rows = run.name, rows
        self.draws = Draws(run.seed, net.device)
        with self.draws.going_on():
            own = clone(net).set_params(**run.params)
            self.ready = prepared(own, rows, watch, state=run.state, made=made)
        self.net, self.failure = self.ready.net, None
        if optimizers_with_modes(self.net):
            raise ValueError(
                "Members of a population change each other's weights between two steps, and a schedule-free optimiser "
                "computes these from others that it keeps. Take an optimiser without train() and eval(), such as "
                "torch.optim.SGD."
            )
        self.steps = self._training()

    def takes_a_step(self) -> bool:
        """Train up to the next step of the optimiser; return whether there was one."""
        with self.draws.going_on():
            try:
                self.steps_per_epoch = next(self.steps, 0)
            except DivergedError as error:
                self.failure: DivergedError | None = error
                return False
            except IndexError as error:
                inputs = tensors(self.rows.X, dtype_of(self.net.module_), self.net.device)
                raise index_error(self.net.module_, [inputs], error) from error
        return self.steps_per_epoch > 0

    def _training(self) -> Iterator[int]:
        with looping(self.ready):
            yield from _steps(self.net, self.ready.X, self.ready.y)


def _steps(net: Any, X: Any, y: Any) -> Iterator[int]:
    """Run what skorch's ``fit_loop`` runs, and give the steps of an epoch after each step, ahead of its callbacks."""
    net.check_data(X, y)
    net.check_training_readiness()
    train, valid = net.get_split_datasets(X, y)
    sets = {"dataset_train": train, "dataset_valid": valid}
    loader = net.get_iterator(train, training=True)
    held_out = None if valid is None else net.get_iterator(valid, training=False)
    for _ in range(net.max_epochs):
        net.notify("on_epoch_begin", **sets)
        n_batches = 0
        for batch in loader:
            net.notify("on_batch_begin", batch=batch, training=True)
            step = net.train_step(batch)
            net.history.record_batch("train_loss", step["loss"].item())
            net.history.record_batch(
                "train_batch_size", get_len(batch[0] if isinstance(batch, (tuple, list)) else batch)
            )
            yield len(loader)
            net.notify("on_batch_end", batch=batch, training=True, **step)
            n_batches += 1
        net.history.record("train_batch_count", n_batches)
        net.run_single_epoch(held_out, training=False, prefix="valid", step_fn=net.validation_step)
        net.notify("on_epoch_end", **sets)


def _meet(lock_step: LockStep, nets: Sequence[Any], steps_per_epoch: int) -> None:
    """Let a population act on its nets, as stacked tensors whose numbers are copied back."""
    stacked: list[tuple[list[Tensor], Tensor]] = []

    def together() -> list[Tensor]:
        named = [_tensors(net.module_) for net in nets]
        for name in named[0]:
            of_members = [of_net[name].detach() for of_net in named]
            stacked.append((of_members, torch.stack(of_members)))
        return [whole for _, whole in stacked]

    def copy_back() -> None:
        for of_members, whole in stacked:
            for own, row in zip(of_members, whole, strict=True):
                own.copy_(row)

    def state(k: int) -> State:
        copy_back()
        return state_of(nets[k])

    if lock_step.after_step(nets, steps_per_epoch, together, state):
        copy_back()


def _tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return what a population acts on: trained parameters, and BatchNorm's statistics."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return trained | {name: t for name, t in module.named_buffers() if is_statistic(name)}


def _check_loop(net: Any) -> None:
    for method in _NOT_OVERRIDDEN:
        if not getattr(type(net), method).__module__.startswith("skorch"):
            raise ValueError(
                f"{type(net).__name__} overrides {method}, and the members of a population meet between the steps that "
                "skorch's own method takes. Give a net without it: what it does can often be done in a callback."
            )


def _check_same_length(members: Sequence[_Member]) -> None:
    for member in members:
        if member.steps_per_epoch != members[0].steps_per_epoch:
            raise ValueError(
                f"Members of a population take their steps together, and an epoch has {members[0].steps_per_epoch} "
                f"steps in {members[0].name!r} and {member.steps_per_epoch} in {member.name!r}: give all the same "
                "rows, batch_size and train_split."
            )
