"""K modules of one architecture whose parameters are the rows of one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from skfusion._vectorized._alike import attributes, difference, reaching
from skfusion._vectorized._form import NotVectorizableError, form_of
from skfusion._vectorized._members import Members, lent
from skfusion._vectorized._rules import drawing


class Stack:
    r"""Train K modules as one.

    The trainable parameters of member k are row k of a matrix :math:`\Theta \in \mathbb{R}^{K \times d}`, of which the
    modules' own parameters become views, as do their buffers: what is done to the matrix is seen in the modules, and
    the other way round.

    Parameters
    ----------
    modules : iterable of nn.Module
        K modules of one architecture. They are changed: their tensors become views.
    n_members : int, optional
        K, where modules are made while they are asked for: each then gives up its own memory before the next is made.

    Attributes
    ----------
    theta : Tensor of shape (n_members, n_parameters)
        The trainable parameters. A single member has two rows, of which the second is spare: kernels for one matrix
        round in another way, and a member must not depend on its neighbours.
    leaves : dict of Tensor
        Views of ``theta`` by name, each of shape (n_members, ...), that gradients are taken of.

    Raises
    ------
    NotVectorizableError
        If the modules are not alike, or have parameters of several dtypes or devices.
    """

    def __init__(self, modules: Iterable[nn.Module], n_members: int | None = None):
        self.modules: list[nn.Module] = []
        self._marks: list[Any] = []
        self._last: Mapping[str, Tensor] = {}
        if n_members is None:  # they are there, so that a refusal can leave them as they are
            modules = list(modules)
            n_members = len(modules)
            self._like = form_of(modules[0]), attributes(modules[0])
            for k, module in enumerate(modules):
                self._check(module, k)
        for k, module in enumerate(modules):
            if k == 0:
                self._like = form_of(module), attributes(module)
                self._make_room(module, max(2, n_members))
            self._check(module, k)
            self._adopt(module)
        if len(self.modules) == 1:
            for matrix in (self.theta, *self.held.values()):
                matrix[1:] = matrix[0]
        self._cut()

    def _make_room(self, first: nn.Module, n_rows: int) -> None:
        trained = {name: p for name, p in first.named_parameters() if p.requires_grad}
        if len({(p.dtype, p.device) for p in trained.values()}) != 1:
            raise NotVectorizableError("its trained parameters have several dtypes or devices, or there are none")
        self.trained = list(trained)
        ends = torch.tensor([0, *(p.numel() for p in trained.values())]).cumsum(0).tolist()
        shapes = [p.shape for p in trained.values()]
        self._places = dict(zip(trained, zip(ends[:-1], ends[1:], shapes, strict=True), strict=True))
        self._names = [*first.state_dict()]  # without the buffers that do not persist
        self.theta = next(iter(trained.values())).new_empty(n_rows, ends[-1]).detach()
        self.held = {name: t.new_empty(n_rows, *t.shape).detach() for name, t in _held(first).items()}

    def _check(self, module: nn.Module, k: int) -> None:
        form, own = self._like
        if form_of(module) != form:
            raise NotVectorizableError(f"members 0 and {k} differ in their tensors or in which of them are trained")
        if k == 0 and (name := reaching(module)) is not None:
            raise NotVectorizableError(f"its attribute {name!r} holds a parameter or buffer that has a name of its own")
        if (attribute := difference(own, attributes(module))) is not None:
            raise NotVectorizableError(
                f"members 0 and {k} differ in the attribute {attribute!r} of {type(module).__name__}"
            )

    def _adopt(self, module: nn.Module) -> None:
        """Copy the tensors of a module into the next row, of which they become views; it frees those that it had."""
        k, own = len(self.modules), dict(module.named_parameters())
        if any(own[name] is self._last.get(name) for name in self.trained):
            raise NotVectorizableError("its members share a parameter")
        self._last = own
        rows: dict[str, tuple[Tensor, Tensor]] = {
            name: (own[name], row) for name, row in self.by_name(self.theta[k]).items()
        }
        rows |= {name: (t, self.held[name][k]) for name, t in _held(module).items()}
        for tensor, row in rows.values():
            row.copy_(tensor.detach())
            tensor.data = row
        self.modules.append(module)
        self._marks.append(module._register_state_dict_hook(_as_rows))  # type: ignore[no-untyped-call]

    def _cut(self) -> None:
        """Make the views that gradients are taken of."""
        n = len(self.theta)
        views = {name: self.theta[:, a:b].view(n, *s) for name, (a, b, s) in self._places.items()}
        self.leaves = {name: v.detach().requires_grad_() for name, v in views.items()}
        self._tensors = {name: Members(v) for name, v in (*self.leaves.items(), *self.held.items())}

    @contextmanager
    def running(self, training: bool, streams: Sequence[torch.Generator] = ()) -> Iterator[nn.Module]:
        """Lend the tensors of all members to the first module.

        Parameters
        ----------
        training : bool
            Mode of the module.
        streams : sequence of torch.Generator
            One a member, to draw dropout masks from.

        Yields
        ------
        nn.Module
            Takes and gives :class:`Members`.
        """
        module = self.modules[0].train(training)
        with lent(module, self._tensors), drawing(streams):
            yield module
            self._take_back(module)

    def _take_back(self, module: nn.Module) -> None:
        """Write into its place what the module has assigned to a buffer."""
        for name, tensor in module.named_buffers():
            place = self.held.get(name)
            found = tensor.value if isinstance(tensor, Members) else tensor
            if place is None:
                raise NotVectorizableError(f"it makes its buffer {name!r} in its forward pass")
            if found is not place:
                if found.shape[found.dim() - tensor.dim() :] != place.shape[1:] or found.dtype != place.dtype:
                    raise NotVectorizableError(f"it changes the shape or the dtype of its buffer {name!r}")
                place.copy_(found.detach())

    def gradient(self, loss: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the gradient of each member's loss.

        Parameters
        ----------
        loss : Tensor of shape (n_members,)
            Losses.
        out : Tensor of shape (n_members, n_parameters), optional
            Where to write it.

        Returns
        -------
        Tensor of shape (n_members, n_parameters)
            Gradients in the order of ``theta``.
        """
        out = torch.empty_like(self.theta) if out is None else out
        for columns, part in self.gradients(loss):
            out[:, columns].view(part.shape).copy_(part)
        return out

    def gradients(self, loss: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Iterate over the gradient of each member's loss, parameter by parameter, without a copy.

        Parameters
        ----------
        loss : Tensor of shape (n_members,)
            Losses.

        Yields
        ------
        slice
            Columns of ``theta``.
        Tensor of shape (n_members, ...)
            Their gradients, in the shape of the parameter.
        """
        found: list[Tensor | None] = list(
            torch.autograd.grad(loss, list(self.leaves.values()), torch.ones_like(loss), allow_unused=True)
        )
        for i, (name, (start, stop, _)) in enumerate(self._places.items()):
            part, found[i] = found[i], None  # which frees it
            if part is None:
                raise NotVectorizableError(f"its parameter {name!r} takes no part in the loss")
            yield slice(start, stop), part

    def by_name(self, row: Tensor) -> dict[str, Tensor]:
        """Return the parts of one row of ``theta``, or of its gradient.

        Parameters
        ----------
        row : Tensor of shape (n_parameters,)
            The row.

        Returns
        -------
        dict of Tensor
            Views by the names of the parameters.
        """
        return {name: row[a:b].view(s) for name, (a, b, s) in self._places.items()}

    def state_of(self, k: int) -> dict[str, Tensor]:
        """Return the state of a member as views of its rows, also while its module computes for all members."""
        views = {**self.by_name(self.theta[k]), **{name: t[k] for name, t in self.held.items()}}
        return {name: views[name] for name in self._names if name in views}

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some members; the others get tensors of their own.

        Parameters
        ----------
        members : sequence of int
            Their places among ``modules``, at least one.
        """
        self.release(set(range(len(self.modules))) - set(members))
        left = [self.modules[k] for k in members]
        index = torch.tensor(_with_spare(list(members)), device=self.theta.device)
        self.theta = self.theta[index]
        self.held = {name: t[index] for name, t in self.held.items()}
        for k in members:
            self._marks[k].remove()
        self.modules, self._marks, self._last = [], [], {}
        for module in left:
            self._adopt(module)
        self._cut()

    def release(self, members: Iterable[int]) -> None:
        """Give members tensors of their own, so that they no longer hold the whole stack.

        Parameters
        ----------
        members : iterable of int
            Their places among ``modules``.
        """
        for k in members:
            self._marks[k].remove()
            for tensor in (*self.modules[k].parameters(), *self.modules[k].buffers()):
                tensor.data = tensor.data.clone()

    def intact(self) -> bool:
        """Return whether the modules' tensors are still views of the stack's, and trained or frozen as at the start.

        Returns
        -------
        bool
            False after a callback has replaced, frozen or unfrozen one.
        """
        for k, module in enumerate(self.modules):
            named = dict(module.named_parameters())
            if [name for name, p in named.items() if p.requires_grad] != self.trained:
                return False
            own, parts = {**named, **_held(module)}, self.by_name(self.theta[k])
            parts |= {name: t[k] for name, t in self.held.items()}
            if any(name not in own or own[name].data_ptr() != part.data_ptr() for name, part in parts.items()):
                return False
        return True


def _with_spare(items: list[Any]) -> list[Any]:
    """Return at least two items."""
    return items * 2 if len(items) == 1 else items


def _held(module: nn.Module) -> dict[str, Tensor]:
    """Return what is not trained: buffers and frozen parameters, each tied tensor once."""
    frozen = {name: p for name, p in module.named_parameters() if not p.requires_grad}
    return {**frozen, **dict(module.named_buffers())}


class _Row(Tensor):
    """A view whose copy, or pickle, is that of its own numbers: that of a plain view is one of all that it views."""

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
