"""Losses and gradients of several states on one batch, computed together where the module allows it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from skfusion._batches import mapped
from skfusion._vectorized import (
    Members,
    attribute_holding_tensor,
    drawing,
    keep_freed_memory,
    lent,
    slots_of,
    value_of,
)
from skfusion.objective import Batch, Objective, evaluating, first_output
from skfusion.state import State, owners

_CLOSE = {torch.float64: 1e-8}
"""How far, of its own size, a gradient may be off that of the point alone; in other dtypes :data:`_ROUNDED`."""
_ROUNDED = 1e-3
_MANY = 250_000
"""Numbers of a network that gains nothing on a CPU: nearly all of its time is spent on arithmetic."""


class Together:
    """States of one module as rows of the numbers that are trained, and their losses on batches.

    ``names`` are those of the trained tensors, of which tied ones have one, and ``like`` is a state that has the shapes
    and dtypes of all. Points share what is not trained: that of ``like``, unless it is given.
    """

    def __init__(self, names: Sequence[str], like: State, objective: Objective):
        self.names, self.objective, self._like = list(names), objective, like
        own = {k: k for k in self.names}
        self._owner = {k: own.get(k, owner) for k, owner in owners([like]).items()}
        self._dtype = max((like[k].dtype for k in self.names), key=lambda d: torch.finfo(d).bits)
        module = objective.module
        whole = all(k in self._owner for k, v in module.state_dict().items() if isinstance(v, Tensor))
        lends = whole and not attribute_holding_tensor(module)
        self._slots = slots_of(module) if lends else None
        self._generators: list[torch.Generator] = []  # of dropout, one a point
        self.vectorized: bool | None = None if lends and self._pays() else False
        if self.vectorized is None:
            keep_freed_memory()

    def rows(self, states: Sequence[State]) -> Tensor:
        """Return the trained numbers of states, shape (n_states, n_numbers), in the widest of their dtypes."""
        return torch.stack([torch.cat([s[k].detach().flatten().to(self._dtype) for k in self.names]) for s in states])

    def state(self, row: Tensor, rest: State) -> State:
        """Return the state that has the trained numbers of a row, and the other tensors of another state."""
        parts = (t[0].to(rest[k].dtype) for k, t in zip(self.names, self.cut(row[None]), strict=True))
        trained = dict(zip(self.names, parts, strict=True))
        return {k: trained[owner] if owner in trained else rest[owner] for k, owner in self._owner.items()}

    def cut(self, rows: Tensor) -> list[Tensor]:
        """Return rows as the trained tensors, each a view of shape (n_points, ...)."""
        shapes = [self._like[k].shape for k in self.names]
        parts = torch.split(rows, [shape.numel() for shape in shapes], dim=1)
        return [part.view(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]

    def losses(
        self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:  # shapes: (n_points, n_numbers) -> (n_points,), (n_points, n_numbers)
        """Return the loss of each point on one labelled batch, in training mode, and its gradients.

        ``others`` has tensors that are not trained, of shape (n_points, ...), where points differ in them.
        """
        others, rows = others or {}, rows.detach()
        with torch.enable_grad(), _training(self.objective.module):
            if self.vectorized is None:
                return self._checked(rows, batch, others)
            return (self._at_once if self.vectorized else self._in_turn)(rows, batch, others)

    def _pays(self) -> bool:
        """Return whether many points at once are faster; grouped convolutions are slow in torch's CPU kernels."""
        if self._like[self.names[0]].device.type != "cpu":
            return True
        convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in self.objective.module.modules())
        return not convolves and sum(self._like[k].numel() for k in self.names) < _MANY

    def _checked(self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the losses one by one, and see whether they are the same at once, with the same random draws."""
        self._draw_for(rows)
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=_devices(rows)):
                warnings.filterwarnings("error", "There is a performance drop")
                before = [g.get_state() for g in self._generators]
                found = self._at_once(rows, batch, others)
            with torch.random.fork_rng(devices=_devices(rows)):
                alone = self._in_turn(rows, batch, others, before)
        except Exception:  # whatever a module may do that fails for many points; one by one, it raises its own errors
            self.vectorized = False
            return self._in_turn(rows, batch, others)
        tolerance = _CLOSE.get(self._dtype, _ROUNDED)
        gaps, sizes = (found[1] - alone[1]).norm(dim=1), alone[1].norm(dim=1)
        same = torch.allclose(found[0], alone[0], tolerance, tolerance) and bool((gaps <= tolerance * sizes).all())
        self.vectorized = same
        return found if same else alone

    def _in_turn(
        self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor], draws: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        """Return losses and gradients, point by point; ``draws`` are states of the random generator of each."""
        losses, gradients = [], torch.zeros_like(rows)
        for k, row in enumerate(rows):
            if draws:
                _set_generator(draws[k], rows.device)
            leaves = [t.clone().requires_grad_() for t in self.cut(row[None])]
            state = self._like | {name: t[k] for name, t in others.items()}
            state |= {name: t[0].to(state[name].dtype) for name, t in zip(self.names, leaves, strict=True)}
            loss = self._loss({name: state[owner] for name, owner in self._owner.items()}, batch)
            self._differentiate(loss, leaves, gradients[k : k + 1])
            losses.append(loss.detach())
        return torch.stack(losses), gradients

    def _loss(self, state: State, batch: Batch) -> Tensor:
        module, criterion, x = self.objective.module, self.objective.criterion, _copied(batch)
        assert criterion is not None
        if self._slots is None:
            return criterion(self.objective.forward(state, x), batch)
        trained = {*self.names}  # training writes to others, such as running statistics
        own = {name: t if self._owner[name] in trained else t.clone() for name, t in state.items()}
        with lent(module, own, self._slots):
            return criterion(first_output(module(**x) if isinstance(x, dict) else module(x)), batch)

    def _at_once(self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return losses and gradients by one pass of the module for all points."""
        module, criterion, x, n = self.objective.module, self.objective.criterion, _copied(batch), len(rows)
        assert criterion is not None
        leaves = [t.detach().requires_grad_() for t in self.cut(rows)]
        trained = dict(zip(self.names, leaves, strict=True))
        tensors: dict[str, Tensor] = {}
        for name, owner in self._owner.items():
            if name == owner:
                like = self._like[name]
                fixed = others[name].clone() if name in others else like.detach().expand(n, *like.shape).clone()
                tensors[name] = Members(trained[name].to(like.dtype) if name in trained else fixed)
        self._draw_for(rows)
        full = {k: tensors[owner] for k, owner in self._owner.items()}
        with lent(module, full, self._slots), drawing(self._generators[:n]):
            out = value_of(first_output(module(**x) if isinstance(x, dict) else module(x)))
        losses = torch.stack([criterion(part, batch) for part in out.unbind()])
        gradients = torch.zeros_like(rows)
        self._differentiate(losses.sum(), leaves, gradients)
        return losses.detach(), gradients

    def _differentiate(self, loss: Tensor, leaves: Sequence[Tensor], out: Tensor) -> None:
        """Write the gradients of a loss to ``out``; of what has no part in it they are zero already."""
        for place, part in zip(self.cut(out), torch.autograd.grad(loss, leaves, allow_unused=True), strict=True):
            if part is not None:
                place.copy_(part)

    def _draw_for(self, rows: Tensor) -> None:
        """Have a random generator for each point."""
        while len(self._generators) < len(rows):
            seed = int(torch.randint(2**62, ()))
            self._generators.append(torch.Generator(rows.device).manual_seed(seed))


@contextmanager
def _training(module: nn.Module) -> Iterator[None]:
    with evaluating(module):
        module.train()
        yield


def _copied(batch: Batch) -> Tensor | dict[str, Tensor]:
    """Return a copy of the inputs, to which a module may write."""
    return mapped(batch.x, torch.clone)


def _devices(like: Tensor) -> list[torch.device]:
    return [] if like.device.type == "cpu" else [like.device]


def _set_generator(state: Tensor, device: torch.device) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, device)
