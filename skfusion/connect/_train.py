"""Train the bends of a curve by the expected loss over its positions (Garipov et al., 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._random import seed_scope
from skfusion._vectorized import attribute_holding_tensor, lent, slots_of
from skfusion.connect._base import Subspace
from skfusion.connect._ends import check_ends
from skfusion.objective import Batch, Objective, evaluating, first_output
from skfusion.state import State, is_statistic, owners, weighted_sum


class Trainable(Protocol):
    """The parameters of a curve that is trained."""

    n_bends: int
    n_epochs: int
    lr: float
    momentum: float
    weight_decay: float
    train_ends: bool
    random_state: int

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`Basis.weights`."""


def trained(
    curve: Any, states: Sequence[State], objective: Objective | None, start: Callable[[int], np.ndarray]
) -> Subspace:
    """Return a curve between two states with its bends trained.

    Parameters
    ----------
    curve : Trainable
        Basis and settings.
    states : sequence of State
        The two ends.
    objective : Objective
        Labelled rows to train on.
    start : callable
        ``start(n_bends)`` says where on the line between the ends each bend starts.
    """
    check_ends(curve, states)
    check_settings(curve)
    a, b = states
    controls = [a, *(weighted_sum([a, b], [1 - s, s]) for s in start(curve.n_bends)), b]
    if objective is None or objective.criterion is None:
        raise ValueError(
            f"{type(curve).__name__} trains on labelled rows: give it an objective with a criterion and labels. Line() "
            "trains nothing."
        )
    if len(controls) == 2 and not curve.train_ends:
        return Subspace(controls, curve)
    names = trained_names(controls, objective.module, curve.train_ends)
    if not names:
        return Subspace(controls, curve)
    bends = Bends(controls, objective.module, names, curve.train_ends)
    run = _Run(curve, bends, objective)
    with _ready(objective.module, bends.values.device, curve.random_state):
        for _ in range(curve.n_epochs):
            run.epoch()
    return Subspace(bends.controls(), curve, run.history, own_ends=not curve.train_ends)


def spaced(n_bends: int) -> np.ndarray:
    """Return equally spaced positions between the ends."""
    found: np.ndarray = np.linspace(0, 1, n_bends + 2)[1:-1]
    return found


class Bends:
    """The trained numbers of all control states as rows of one matrix.

    Parameters
    ----------
    controls : sequence of State
        The ends, and the bends between them.
    module : nn.Module
        The architecture.
    names : sequence of str
        The tensors that are trained; the others stay where they are, on the line between the ends.
    train_ends : bool
        Whether the ends are trained too.
    """

    def __init__(self, controls: Sequence[State], module: nn.Module, names: Sequence[str], train_ends: bool):
        self._controls, self._names = list(controls), list(names)
        self._owner = owners(controls)
        like = controls[0]
        wide = max((like[k].dtype for k in self._names), key=lambda d: torch.finfo(d).bits)
        rows = [torch.cat([s[k].detach().flatten().to(wide) for k in self._names]) for s in controls]
        self.values = torch.stack(rows)  # shape: (n_controls, n_numbers)
        self._point = torch.empty_like(self.values[:1])
        self.leaves = [v.requires_grad_() for v in self._cut(self._point[0])]
        self._rest = weighted_sum([like, controls[-1]], [0.5, 0.5])  # to which BatchNorm writes its statistics
        self._followed = {
            k: torch.stack([s[k].detach().to(_wide(s[k])) for s in controls]) for k in self._unlike(module)
        }
        free = range(len(controls)) if train_ends else range(1, len(controls) - 1)
        self._free = {k: self._cut(self.values[k]) for k in free}
        self._speed = {k: [torch.zeros_like(v) for v in row] for k, row in self._free.items()}

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
        """Return the control states; ends that were not trained are the very states that were given."""
        found = []
        for k, (row, given) in enumerate(zip(self.values, self._controls, strict=True)):
            found.append(self._state(self._cut(row.clone()), given) if k in self._free else given)
        return found

    def _unlike(self, module: nn.Module) -> list[str]:
        """Return the names of what is not trained, differs between the ends, and is read in training."""
        first, last, other = self._controls[0], self._controls[-1], {*self._names} | _renewed(module)
        others = [k for k, owner in self._owner.items() if k == owner and k not in other]
        return [k for k in others if first[k].is_floating_point() and not torch.equal(first[k], last[k])]

    def _state(self, tensors: Sequence[Tensor], rest: State) -> State:
        found = {k: v.to(rest[k].dtype) for k, v in zip(self._names, tensors, strict=True)}
        return {k: found[owner] if owner in found else rest[owner] for k, owner in self._owner.items()}

    def _cut(self, row: Tensor) -> list[Tensor]:
        shapes = [self._controls[0][k].shape for k in self._names]
        parts = torch.split(row, [shape.numel() for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def trained_names(controls: Sequence[State], module: nn.Module, train_ends: bool) -> list[str]:
    """Return the names of the tensors that are trained: parameters that differ between the ends, unless those move too.

    Of tensors that are tied in all states, only the first one is named.
    """
    takes = {name for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    names = [k for k, owner in owners(controls).items() if k == owner and k in takes]
    if not names:
        raise ValueError(f"{type(module).__name__} has no parameters that are trained, so no curve can be.")
    return [k for k in names if train_ends or not torch.equal(controls[0][k], controls[-1][k])]


def _renewed(module: nn.Module) -> set[str]:
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


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


@contextmanager
def _ready(module: nn.Module, device: torch.device, seed: int) -> Iterator[None]:
    """Train in the module's own training mode, from random streams that are put back."""
    with ExitStack() as stack:
        stack.enter_context(seed_scope(int(seed), device))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(evaluating(module))
        module.train()
        yield


class _Run:
    """A training, epoch by epoch."""

    def __init__(self, curve: Any, bends: Bends, objective: Objective):
        self.curve, self.bends, self.objective = curve, bends, objective
        self.history: list[float] = []
        self._rng = np.random.RandomState(curve.random_state)
        self._n_batches = math.inf  # of an epoch, as the last one had them
        self._slots = (
            None if attribute_holding_tensor(objective.module) or objective.heads else slots_of(objective.module)
        )

    def epoch(self) -> None:
        """Go through the rows once."""
        curve, bends, objective = self.curve, self.bends, self.objective
        kind = torch.promote_types(bends.values.dtype, torch.float32)
        total, n = torch.zeros((), dtype=kind, device=bends.values.device), 0
        batches = (objective.training or objective.batches)()
        if curve.n_epochs == 1:  # there is no earlier epoch to tell how many batches there are
            batches = [*batches]
            self._n_batches = len(batches)
        for batch in batches:
            done = (len(self.history) + n / self._n_batches) / curve.n_epochs
            c = curve.weights(float(self._rng.uniform()), len(bends.values))
            loss = self._loss(bends.place(c), batch)
            gradients = torch.autograd.grad(loss, bends.leaves, allow_unused=True)
            bends.step(c, gradients, curve.lr * rate(done), curve.momentum, curve.weight_decay)
            total += loss.detach()
            n += 1
        if not n:
            raise ValueError(f"{type(curve).__name__} trains on labelled rows, and the objective has none.")
        self._n_batches = n
        self.history.append(float(total) / n)
        if not math.isfinite(self.history[-1]):
            raise ValueError(
                f"The training of {curve!r} diverged in epoch {len(self.history)}: its loss is {self.history[-1]}. "
                f"Give it a smaller lr than {curve.lr}."
            )

    def _loss(self, state: State, batch: Batch) -> Tensor:
        module, criterion = self.objective.module, self.objective.criterion
        assert criterion is not None
        if batch.y is None:
            raise ValueError(
                f"{type(self.curve).__name__} trains on labelled rows, and the labels are missing: a batch of the "
                "objective has y=None. Give its batches (or training=) labels."
            )
        if self._slots is None:
            return criterion(self.objective.forward(state, batch.x), batch)
        with lent(module, state, self._slots):
            return criterion(first_output(module(**batch.x) if isinstance(batch.x, dict) else module(batch.x)), batch)


def rate(done: float) -> float:
    """Return the factor on the learning rate after a share of the training: 1 to a half, then down to 0.01 at 0.9."""
    return 1.0 if done < 0.5 else 0.01 if done > 0.9 else 1.0 - (done - 0.5) / 0.4 * 0.99


def check_settings(curve: Trainable) -> None:
    """Raise ``ValueError`` or ``TypeError`` where a setting of a trained curve makes no sense."""
    for name in ("n_bends", "n_epochs"):
        value = getattr(curve, name)
        if not _is_whole(value) or value < 0:
            raise ValueError(f"{name} must be a whole number of at least 0; got {value!r}.")
    for name in ("lr", "momentum", "weight_decay"):
        value = getattr(curve, name)
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number; got {value!r}.")
        if not (math.isfinite(value) and float(value) >= 0):
            raise ValueError(f"{name} must be finite and at least 0; got {value!r}.")
    if curve.momentum >= 1:
        raise ValueError(f"momentum must be below 1, or steps grow without end; got {curve.momentum!r}.")
    if not _is_whole(curve.random_state) or not 0 <= curve.random_state < 2**32:
        raise ValueError(
            f"random_state must be a whole number from 0 to 2**32 - 1, so that a curve can be made again; got "
            f"{curve.random_state!r}."
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
