"""Train control states by the expected loss over the domain of their basis (Garipov et al., 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._random import seed_scope
from skfusion._vectorized import attribute_holding_tensor, lent, slots_of
from skfusion.connect._base import Basis
from skfusion.objective import Batch, Objective, evaluating, first_output
from skfusion.state import State, is_statistic, owners, weighted_sum

Attacked = Callable[[Callable[[Tensor], Tensor], Batch], Batch]


class Steps(Protocol):
    """What takes steps of a rate, and is named in messages."""

    lr: float


class Settings(Steps, Protocol):
    """How to train; the connector that has these parameters is named in messages."""

    n_epochs: int
    momentum: float
    weight_decay: float
    random_state: int


def train(
    settings: Settings,
    basis: Basis,
    controls: Sequence[State],
    free: Sequence[int],
    given: Sequence[State],
    objective: Objective,
    attacked: Attacked | None = None,
) -> tuple[list[State], list[float]]:
    """Return the control states with those at the positions ``free`` trained, and the mean loss of each epoch.

    ``given`` are the networks that are joined: what is equal in all of them stays as it is, unless they are free too.
    ``attacked(forward, batch)`` changes a batch for the point that it is to train, whose outputs ``forward`` gives.
    """
    bends = Bends(controls, given, free, objective.module)
    run = _Run(settings, basis, bends, objective, attacked)
    streams = seed_scope(int(settings.random_state), bends.values.device)
    with streams, torch.enable_grad(), evaluating(objective.module):
        objective.module.train()
        for _ in range(settings.n_epochs):
            run.epoch()
    return bends.controls(), run.history


class Bends:
    """The trained numbers of all control states as rows of one matrix; ``given`` are the networks that are joined.

    The other tensors of the free control states are those of the sums that these begin as.
    """

    def __init__(self, controls: Sequence[State], given: Sequence[State], free: Sequence[int], module: nn.Module):
        self._controls, self._given = list(controls), list(given)
        self._names = trained_names(controls, given, free, module)
        self._owner = owners(controls)
        wide = max((controls[0][k].dtype for k in self._names), key=lambda d: torch.finfo(d).bits)
        rows = [torch.cat([s[k].detach().flatten().to(wide) for k in self._names]) for s in controls]
        self.values = torch.stack(rows)  # shape: (n_controls, n_numbers)
        self._point = torch.empty_like(self.values[:1])
        self.leaves = [v.requires_grad_() for v in self._cut(self._point[0])]
        # the tensors to which BatchNorm writes its statistics
        self._rest = weighted_sum(self._given, [1 / len(given)] * len(given))
        self._followed = {
            k: torch.stack([s[k].detach().to(torch.promote_types(s[k].dtype, torch.float32)) for s in controls])
            for k in untrained_names(self._names, given, module)
        }
        self._free = {k: self._cut(self.values[k]) for k in free}
        self._speed = {k: [torch.zeros_like(v) for v in row] for k, row in self._free.items()}

    def takes_whole(self, module: nn.Module) -> bool:
        """Return whether the control states have all tensors of a module: those of networks without a head have not."""
        return all(k in self._owner for k, v in module.state_dict().items() if isinstance(v, Tensor))

    def place(self, coefficients: np.ndarray) -> State:
        """Return the state of a point, whose trained tensors are in ``leaves``, which gradients are taken by."""
        with torch.no_grad():
            c = torch.from_numpy(coefficients)
            torch.mm(c[None].to(self.values), self.values, out=self._point)
            followed = {k: torch.tensordot(c.to(v), v, 1).to(self._rest[k].dtype) for k, v in self._followed.items()}
        return self._state(self.leaves, self._rest | followed)

    def step(
        self, coefficients: np.ndarray, gradients: Sequence[Tensor | None], lr: float, momentum: float, decay: float
    ) -> None:
        """Take a step of SGD with what is free, by the gradients of the loss at the point and its L2 penalty."""
        reached = [i for i, g in enumerate(gradients) if g is not None]
        slopes = [g for g in gradients if g is not None]
        for k, row in self._free.items():
            c, speeds = float(coefficients[k]), self._speed[k]
            torch._foreach_mul_(speeds, momentum)
            torch._foreach_add_([speeds[i] for i in reached], slopes, alpha=c)
            if decay:
                torch._foreach_add_(speeds, [leaf.detach() for leaf in self.leaves], alpha=c * decay)
            torch._foreach_add_(row, speeds, alpha=-lr)

    def controls(self) -> list[State]:
        """Return the control states; those that are not free are the very states that were given."""
        return [
            self._state(self._cut(row.clone()), start) if k in self._free else start
            for k, (row, start) in enumerate(zip(self.values, self._controls, strict=True))
        ]

    def _state(self, tensors: Sequence[Tensor], rest: State) -> State:
        trained = {k: v.to(rest[k].dtype) for k, v in zip(self._names, tensors, strict=True)}
        return {k: trained[owner] if owner in trained else rest[owner] for k, owner in self._owner.items()}

    def _cut(self, row: Tensor) -> list[Tensor]:
        shapes = [self._controls[0][k].shape for k in self._names]
        parts = torch.split(row, [shape.numel() for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def trained_names(
    controls: Sequence[State], given: Sequence[State], free: Sequence[int], module: nn.Module
) -> list[str]:
    """Return the names of the tensors that are trained: parameters that differ between the given states.

    Where all control states are free, equal ones are trained too. Of tied tensors, only the first one is named.
    """
    takes = {name for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    names = [k for k, owner in owners(controls).items() if k == owner and k in takes]
    if not names:
        raise ValueError(f"{type(module).__name__} has no parameters that are trained, so no curve can be.")
    return names if len(free) == len(controls) else [k for k in names if _differs(given, k)]


def untrained_names(names: Sequence[str], given: Sequence[State], module: nn.Module) -> list[str]:
    """Return the names of what is not trained, differs between given states, and is read in training.

    ``names`` are those of what is trained. Of tied tensors, only the first one is named.
    """
    other = {*names} | renewed(module)
    found = [k for k, owner in owners(given).items() if k == owner and k not in other]
    return [k for k in found if given[0][k].is_floating_point() and _differs(given, k)]


def _differs(states: Sequence[State], name: str) -> bool:
    return any(not torch.equal(states[0][name], other[name]) for other in states[1:])


def renewed(module: nn.Module) -> set[str]:
    """Return the names of the running statistics that training renews and does not read."""
    kinds = nn.modules.batchnorm._NormBase  # of BatchNorm and of InstanceNorm
    with evaluating(module):
        module.train()
        return {
            f"{name}.{key}".lstrip(".")
            for name, part in module.named_modules(remove_duplicate=False)
            if isinstance(part, kinds) and part.training
            for key in part._buffers
            if is_statistic(key)
        }


class _Run:
    """A training, epoch by epoch."""

    def __init__(self, settings: Settings, basis: Basis, bends: Bends, objective: Objective, attacked: Attacked | None):
        self.settings, self.basis, self.bends, self.objective = settings, basis, bends, objective
        self._attacked = attacked
        self.history: list[float] = []
        self._rng = np.random.RandomState(settings.random_state)
        self._n_batches = math.inf  # of an epoch, as the last one had them
        lends = bends.takes_whole(objective.module) and not attribute_holding_tensor(objective.module)
        self._slots = slots_of(objective.module) if lends else None

    def epoch(self) -> None:
        """Go through the rows once."""
        settings, basis, bends = self.settings, self.basis, self.bends
        kind = torch.promote_types(bends.values.dtype, torch.float32)
        total, n, n_controls = torch.zeros((), dtype=kind, device=bends.values.device), 0, len(bends.values)
        batches = self.objective.training()
        if settings.n_epochs == 1:  # no earlier epoch has shown how many batches there are
            batches = [*batches]
            self._n_batches = len(batches)
        for batch in labelled(batches, self.settings):
            done = (len(self.history) + n / self._n_batches) / settings.n_epochs
            c = basis.weights(basis.sample(self._rng, n_controls), n_controls)
            point = bends.place(c)
            if self._attacked is not None:
                batch = self._attacked(partial(self._output, point), batch)
            loss = self._loss(point, batch)
            gradients = torch.autograd.grad(loss, bends.leaves, allow_unused=True)
            bends.step(c, gradients, settings.lr * rate(done), settings.momentum, settings.weight_decay)
            total += loss.detach()
            n += 1
        self._n_batches = n
        record(self.history, settings, float(total), n)

    def _loss(self, state: State, batch: Batch) -> Tensor:
        module, criterion = self.objective.module, self.objective.criterion
        assert criterion is not None
        if self._slots is None:
            return criterion(self.objective.forward(state, batch.x), batch)
        with lent(module, state, self._slots):
            return criterion(first_output(module(**batch.x) if isinstance(batch.x, dict) else module(batch.x)), batch)

    def _output(self, state: State, x: Tensor) -> Tensor:
        """Return the outputs of a point for inputs, by which gradients can be taken too."""
        if self._slots is None:
            return self.objective.forward(state, x)
        with lent(self.objective.module, state, self._slots):
            return first_output(self.objective.module(x))


def record(history: list[float], settings: Steps, total: float, n: int) -> None:
    """Append the mean loss of the n batches of an epoch; raise where there are none, or it is not finite."""
    if not n:
        raise ValueError(f"{type(settings).__name__} trains on labelled rows, and the objective has none.")
    history.append(total / n)
    if not math.isfinite(history[-1]):
        raise ValueError(
            f"The training of {settings!r} diverged in epoch {len(history)}: its loss is {history[-1]}. "
            f"Give it a smaller lr than {settings.lr}."
        )


def labelled(batches: Iterable[Batch], settings: Steps) -> Iterator[Batch]:
    """Iterate over batches; raise where one has no labels."""
    for batch in batches:
        if batch.y is None:
            raise ValueError(
                f"{type(settings).__name__} trains on labelled rows, and the labels are missing: a batch of the "
                "objective has y=None. Give its batches (or training=) labels."
            )
        yield batch


def rate(done: float) -> float:
    """Return the factor on the learning rate after a share of the training: 1 to a half, then down to 0.01 at 0.9."""
    return 1.0 if done < 0.5 else 0.01 if done > 0.9 else 1.0 - (done - 0.5) / 0.4 * 0.99


def check_labelled(connector: Any, objective: Objective | None) -> Objective:
    """Return an objective that can be trained on, or raise ``ValueError``."""
    if objective is None or objective.criterion is None:
        raise ValueError(
            f"{type(connector).__name__} trains on labelled rows: give it an objective with a criterion and labels. "
            "Line() trains nothing."
        )
    return objective
