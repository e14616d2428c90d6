"""Losses and gradients of several states on one batch, computed together where the module allows it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

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
from skfusion.connect._train import renewed
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
        self._in_training = False
        self._generators: list[torch.Generator] = []  # of dropout, one a point
        trained = {*self.names} | renewed(module)  # running statistics are written and not read
        buffers = {name for name, _ in module.named_buffers(remove_duplicate=False)} - trained
        self._written = {k for k, owner in self._owner.items() if k in buffers and k == owner}
        self._rest = {k: t.detach().clone() for k, t in like.items() if self._owner[k] not in own}
        self._shapes = [like[k].shape for k in self.names]
        self._sizes = [shape.numel() for shape in self._shapes]
        self.lends = lends
        """Whether the module can be run with the tensors of points in the place of its own."""
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
        parts = torch.split(rows, self._sizes, dim=1)
        return [part.view(len(rows), *shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def losses(
        self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:  # shapes: (n_points, n_numbers) -> (n_points,), (n_points, n_numbers)
        """Return the loss of each point on one labelled batch, in training mode, and its gradients.

        ``others`` has tensors that are not trained, of shape (n_points, ...), where points differ in them.
        """
        others, rows = others or {}, rows.detach()
        with nullcontext() if self._in_training else self.training():
            if self.vectorized is None and len(rows) > 1:
                return self._checked(rows, batch, others)
            return (self._at_once if self.vectorized and len(rows) > 1 else self._in_turn)(rows, batch, others)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Put the module in training mode for many calls of :meth:`losses`, and restore its modes afterwards."""
        module = self.objective.module
        with torch.enable_grad(), evaluating(module):
            module.train()
            self._in_training = True
            try:
                yield
            finally:
                self._in_training = False

    def outputs(self, trained: Sequence[Tensor], batch: Batch, others: Mapping[str, Tensor]) -> Tensor:
        """Return the outputs of all points by one pass of the module, shape (n_points, n_rows, ...).

        ``trained`` are the trained tensors as :meth:`cut` has them, and ``others`` those of :meth:`losses`. The module
        may raise whatever it does where it cannot be run for many points.
        """
        module, x, n = self.objective.module, mapped(batch.x, torch.clone), len(trained[0])
        own = {k: t.to(self._like[k].dtype) for k, t in zip(self.names, trained, strict=True)}
        fixed = {k: t.expand(n, *t.shape).clone() for k, t in self._rest.items() if self._owner[k] == k}
        tensors = {k: Members(t) for k, t in (own | fixed | {k: t.clone() for k, t in others.items()}).items()}
        with lent(module, {k: tensors[owner] for k, owner in self._owner.items()}, self._slots):
            return value_of(first_output(module(**x) if isinstance(x, dict) else module(x)))

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
        losses, gradients, several = [], torch.empty_like(rows), len(rows) > 1
        for k, row in enumerate(rows):
            if draws:
                _set_generator(draws[k], rows.device)
            parts = zip(torch.split(row, self._sizes), self._shapes, strict=True)
            leaves = [part.view(shape).requires_grad_() for part, shape in parts]
            loss = self._loss(self._lent(leaves, {name: t[k] for name, t in others.items()}), batch, several)
            found = torch.autograd.grad(loss, leaves, allow_unused=True)
            flat = [(torch.zeros_like(v) if g is None else g).flatten() for g, v in zip(found, leaves, strict=True)]
            torch.cat(flat, out=gradients[k])
            losses.append(loss.detach())
        return torch.stack(losses), gradients

    def _lent(self, leaves: Sequence[Tensor], others: Mapping[str, Tensor]) -> State:
        """Return the state of a point whose trained tensors are given; training may write to the others."""
        rest = self._rest | dict(others)
        tensors = {k: rest[k].clone() for k in self._written} if self._written else {}
        tensors |= {k: t.to(self._like[k].dtype) for k, t in zip(self.names, leaves, strict=True)}
        return {k: tensors[owner] if owner in tensors else rest[owner] for k, owner in self._owner.items()}

    def _loss(self, state: State, batch: Batch, several: bool) -> Tensor:
        module, criterion, x = self.objective.module, self.objective.criterion, batch.x
        assert criterion is not None
        x = mapped(x, torch.clone) if several else x  # a module may write to its inputs, of which others come after
        if self._slots is None:
            return criterion(self.objective.forward(state, x), batch)
        with lent(module, state, self._slots):
            return criterion(first_output(module(**x) if isinstance(x, dict) else module(x)), batch)

    def _at_once(self, rows: Tensor, batch: Batch, others: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return losses and gradients by one pass of the module for all points."""
        criterion = self.objective.criterion
        assert criterion is not None
        leaves = [t.detach().requires_grad_() for t in self.cut(rows)]
        self._draw_for(rows)
        with drawing(self._generators[: len(rows)]):
            out = self.outputs(leaves, batch, others)
        losses = torch.stack([criterion(part, batch) for part in out.unbind()])
        found = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        flat = [(torch.zeros_like(v) if g is None else g).flatten(1) for g, v in zip(found, leaves, strict=True)]
        return losses.detach(), torch.cat(flat, dim=1)

    def _draw_for(self, rows: Tensor) -> None:
        """Have a random generator for each point."""
        while len(self._generators) < len(rows):
            seed = int(torch.randint(2**62, ()))
            self._generators.append(torch.Generator(rows.device).manual_seed(seed))


def _devices(like: Tensor) -> list[torch.device]:
    return [] if like.device.type == "cpu" else [like.device]


def _set_generator(state: Tensor, device: torch.device) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, device)
