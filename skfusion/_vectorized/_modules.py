"""K modules of one architecture as one: their trainable parameters are the rows of one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from skfusion._vectorized._attributes import attribute_holding_tensor, attributes, difference
from skfusion._vectorized._chains import chained
from skfusion._vectorized._kernels import drawing
from skfusion._vectorized._layers import gradients_written_to
from skfusion._vectorized._members import Members, NotVectorizableError, lent
from skfusion.state import is_statistic

_LINE = 64
"""Bytes of a line of a processor's cache; a row is a whole number of them, as kernels round a rest in another way."""


class VectorizedModules:
    r"""Train K modules as one.

    The trainable parameters of member k are row k of a matrix :math:`\Theta \in \mathbb{R}^{K \times d}`, of which the
    modules' own parameters become views, as do their buffers: what is done to the matrix is seen in the modules, and
    the other way round. A row is followed by zeros up to a multiple of 64 bytes.

    A single member has two rows, of which the second is spare: kernels for one matrix round in another way than those
    for several, and a member must not depend on its neighbours. ``leaves`` are views of ``theta`` by name, each of
    shape (n_members, ...), that gradients are taken of; ``held`` has the tensors that are not trained.

    ``n_members`` is given where modules are made while they are iterated over, so that each gives up its own memory
    before the next is made. :class:`NotVectorizableError` is raised where members differ in more than their numbers, or
    have trained parameters of several dtypes or devices.
    """

    def __init__(self, modules: Iterable[nn.Module], n_members: int | None = None):
        self.modules: list[nn.Module] = []
        self._state_hooks: list[Any] = []
        self._last: Mapping[str, Tensor] = {}
        self._room: tuple[Tensor | None, list[Tensor]] = None, []
        if n_members is None:  # all are there, so that a refusal can leave them unchanged
            modules = list(modules)
            n_members = len(modules)
            self._first = tensor_layout(modules[0]), attributes(modules[0])
            for k, module in enumerate(modules):
                self._check(module, k)
        for k, module in enumerate(modules):
            if k == 0:
                self._first = tensor_layout(module), attributes(module)
                self._make_room(module, max(2, n_members))
            self._check(module, k)
            self._adopt(module)
        if len(self.modules) == 1:
            for matrix in (self.theta, *self.held.values()):
                matrix[1:] = matrix[0]
        self._make_views()

    def _make_room(self, first: nn.Module, n_rows: int) -> None:
        trained = {name: p for name, p in first.named_parameters() if p.requires_grad}
        if len({(p.dtype, p.device) for p in trained.values()}) != 1:
            raise NotVectorizableError("its trained parameters have several dtypes or devices, or there are none")
        self.trained = list(trained)
        ends = torch.tensor([0, *(p.numel() for p in trained.values())]).cumsum(0).tolist()
        shapes = [p.shape for p in trained.values()]
        self._places = dict(zip(trained, zip(ends[:-1], ends[1:], shapes, strict=True), strict=True))
        self._names = [*first.state_dict()]  # without the buffers that do not persist
        like = next(iter(trained.values()))
        unit = max(1, _LINE // like.element_size())
        self.theta = like.new_empty(n_rows, -(-ends[-1] // unit) * unit).detach()
        self.theta[:, ends[-1] :] = 0
        self.held = {name: t.new_empty(n_rows, *t.shape).detach() for name, t in _held(first).items()}

    def _check(self, module: nn.Module, k: int) -> None:
        layout, first_attributes = self._first
        if tensor_layout(module) != layout:
            raise NotVectorizableError(f"members 0 and {k} differ in their tensors or in which of them are trained")
        if k == 0 and (name := attribute_holding_tensor(module)) is not None:
            raise NotVectorizableError(f"its attribute {name!r} holds, or may hold, a parameter or buffer")
        if (attribute := difference(first_attributes, attributes(module))) is not None:
            raise NotVectorizableError(
                f"members 0 and {k} differ in the attribute {attribute!r} of {type(module).__name__}"
            )

    def _adopt(self, module: nn.Module) -> None:
        """Copy the tensors of a module into the next row, of which they become views; it frees those that it had."""
        k, parameters = len(self.modules), dict(module.named_parameters())
        if any(parameters[name] is self._last.get(name) for name in self.trained):
            raise NotVectorizableError("its members share a parameter")
        self._last = parameters
        rows: dict[str, tuple[Tensor, Tensor]] = {
            name: (parameters[name], row) for name, row in self.by_name(self.theta[k]).items()
        }
        rows |= {name: (t, self.held[name][k]) for name, t in _held(module).items()}
        for tensor, row in rows.values():
            row.copy_(tensor.detach())
            tensor.data = row
        self.modules.append(module)
        self._state_hooks.append(module._register_state_dict_hook(_as_rows))  # type: ignore[no-untyped-call]

    def _make_views(self) -> None:
        """Make the views that gradients are taken of."""
        n = len(self.theta)
        views = {name: self.theta[:, a:b].view(n, *s) for name, (a, b, s) in self._places.items()}
        self.leaves = {name: v.detach().requires_grad_() for name, v in views.items()}
        self._tensors = {name: Members(v) for name, v in (*self.leaves.items(), *self.held.items())}

    @contextmanager
    def running(self, training: bool, generators: Sequence[torch.Generator] = ()) -> Iterator[nn.Module]:
        """Lend the tensors of all members to the first module, which then takes and gives :class:`Members`.

        Each member draws its dropout masks from its own one of the ``generators``.
        """
        module = self.modules[0].train(training)
        with lent(module, self._tensors), drawing(generators), chained(module) if training else nullcontext():
            yield module
            self._take_back(module)

    def _take_back(self, module: nn.Module) -> None:
        """Copy what the module has assigned to a buffer into the tensor that holds the buffers of all members."""
        for name, tensor in module.named_buffers():
            place = self.held.get(name)
            value = tensor.value if isinstance(tensor, Members) else tensor
            if place is None:
                raise NotVectorizableError(f"it makes its buffer {name!r} in its forward pass")
            if value is not place:
                if value.shape[value.dim() - tensor.dim() :] != place.shape[1:] or value.dtype != place.dtype:
                    raise NotVectorizableError(f"it changes the shape or the dtype of its buffer {name!r}")
                place.copy_(value.detach())

    def gradient(self, loss: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the gradient of each member's loss, in the shape and the order of ``theta``."""
        out = torch.empty_like(self.theta) if out is None else out
        if self._room[0] is not out:
            out[:, max(stop for _, stop, _ in self._places.values()) :] = 0
            self._room = out, [out[:, a:b].view(-1, *shape) for a, b, shape in self._places.values()]
        places = self._room[1]
        with gradients_written_to(dict(zip(self.leaves.values(), places, strict=True))):
            for place, (_, part) in zip(places, self.gradients(loss), strict=True):
                if part is not place and (part.data_ptr() != place.data_ptr() or part.stride() != place.stride()):
                    place.copy_(part)
        return out

    def gradients(self, loss: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Iterate over the columns of ``theta`` of each parameter, and its gradients, shape (n_members, ...).

        Each gradient may be freed before the next is asked for, which spares a copy of them all.
        """
        parts: list[Tensor | None] = list(
            torch.autograd.grad(loss, list(self.leaves.values()), torch.ones_like(loss), allow_unused=True)
        )
        for i, (name, (start, stop, _)) in enumerate(self._places.items()):
            part, parts[i] = parts[i], None  # so that nothing else holds it
            if part is None:
                raise NotVectorizableError(f"its parameter {name!r} takes no part in the loss")
            yield slice(start, stop), part

    def by_name(self, row: Tensor) -> dict[str, Tensor]:
        """Return views of one row of ``theta``, or of its gradient, by the names of the parameters."""
        return {name: row[a:b].view(s) for name, (a, b, s) in self._places.items()}

    def state_of(self, k: int) -> dict[str, Tensor]:
        """Return the state of a member as views of its rows, also while its module computes for all members."""
        views = {**self.by_name(self.theta[k]), **{name: t[k] for name, t in self.held.items()}}
        return {name: views[name] for name in self._names if name in views}

    def averaged(self) -> list[Tensor]:
        """Return what can be averaged over members, without a spare row: ``theta``, and statistics of BatchNorm."""
        n = len(self.modules)
        return [self.theta[:n], *(t[:n] for name, t in self.held.items() if is_statistic(name))]

    def keep(self, members: Sequence[int]) -> None:
        """Go on with the members at some places, at least one; the others get tensors of their own."""
        self.release(set(range(len(self.modules))) - set(members))
        left = [self.modules[k] for k in members]
        rows = list(members) * (2 if len(members) == 1 else 1)  # a single member has a spare row
        index = torch.tensor(rows, device=self.theta.device)
        self.theta = self.theta[index]
        self.held = {name: t[index] for name, t in self.held.items()}
        for k in members:
            self._state_hooks[k].remove()
        self.modules, self._state_hooks, self._last = [], [], {}
        for module in left:
            self._adopt(module)
        self._make_views()

    def release(self, members: Iterable[int]) -> None:
        """Give members tensors of their own, so that they no longer hold the matrix of all."""
        self._room = None, []
        for k in members:
            self._state_hooks[k].remove()
            for tensor in (*self.modules[k].parameters(), *self.modules[k].buffers()):
                tensor.data = tensor.data.clone()

    def intact(self) -> bool:
        """Return whether no callback has replaced, frozen or unfrozen a tensor of a module."""
        for k, module in enumerate(self.modules):
            named = dict(module.named_parameters())
            if [name for name, p in named.items() if p.requires_grad] != self.trained:
                return False
            now, rows = {**named, **_held(module)}, self.by_name(self.theta[k])
            rows |= {name: t[k] for name, t in self.held.items()}
            if any(name not in now or now[name].data_ptr() != row.data_ptr() for name, row in rows.items()):
                return False
        return True


def _held(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that are not trained, buffers and frozen parameters; each tied tensor once."""
    frozen = {name: p for name, p in module.named_parameters() if not p.requires_grad}
    return {**frozen, **dict(module.named_buffers())}


class _Row(Tensor):
    """A view of one member that is copied and pickled as its own numbers; a plain view takes the whole matrix along."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment] # gives plain tensors

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self.as_subclass(Tensor).clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.as_subclass(Tensor).clone().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]


def _as_rows(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
    """Let the tensors of a member's state, which are views, be copied alone."""
    for name, tensor in state.items():
        if type(tensor) is Tensor:
            state[name] = tensor.as_subclass(_Row)


def tensor_layout(module: nn.Module) -> list[Any]:
    """Return what members must share: names, shapes, dtypes and ties of tensors, and which of them are trained.

    :class:`NotVectorizableError` is raised where a tensor cannot become a row of a matrix: it has no shape yet, a hook
    for its gradient, or memory in common with another tensor.
    """
    tensors: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    if any(nn.parameter.is_lazy(t) for _, t in tensors):
        raise NotVectorizableError("it has lazy layers that have seen no data")
    for name, t in tensors:  # gradients are taken of other tensors, so that such a hook would never be called
        if t._backward_hooks or getattr(t, "_post_accumulate_grad_hooks", None):
            raise NotVectorizableError(f"a hook waits for the gradient of its parameter {name!r}")
    _check_apart(tensors)
    names = {id(t): name for name, t in tensors}
    places = [
        (f"{prefix}.{key}", None if t is None else names[id(t)])
        for prefix, part in module.named_modules(remove_duplicate=False)
        for key, t in (*part._parameters.items(), *part._buffers.items())
    ]
    return [[(name, tuple(t.shape), t.dtype, t.requires_grad) for name, t in tensors], places]


def _check_apart(tensors: list[tuple[str, Tensor]]) -> None:
    """Raise where two tensors have memory in common, which they would lose as rows of a matrix."""
    spans = []
    for name, t in tensors:
        if t.numel():
            n = 1 + sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
            spans.append((t.data_ptr(), t.data_ptr() + n * t.element_size(), name))
    for (_, end, name), (start, _, other) in pairwise(sorted(spans)):
        if start < end:
            raise NotVectorizableError(f"its tensors {name!r} and {other!r} share memory")


def keep_freed_memory() -> None:
    """Let the allocator keep memory that a step frees, for the next step.

    The activations of many members are large blocks. By default glibc gives such blocks back to the system when they
    are freed, and a step then spends a third of its time on page faults. Its thresholds follow the largest block that
    was ever freed (up to 32 MiB; see ``mallopt(3)``), so freeing one that was never touched moves them. Nothing
    happens with other allocators.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
