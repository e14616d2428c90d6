"""K modules of one architecture whose parameters are the rows of one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from skfusion.stacked._alike import attributes, difference
from skfusion.stacked._members import Members, lent
from skfusion.stacked._rules import drawing


class NotStackableError(ValueError):
    """A network cannot be computed for many members at once; the message says why, as half a sentence."""


class Stack:
    r"""Train K modules as one.

    The trainable parameters of member k are row k of a matrix :math:`\Theta \in \mathbb{R}^{K \times d}`, of which the
    modules' own parameters become views, as do their buffers: what is done to the matrix is seen in the modules, and
    the other way round.

    Parameters
    ----------
    modules : sequence of nn.Module
        K modules of one architecture. They are changed: their tensors become views.

    Attributes
    ----------
    theta : Tensor of shape (n_members, n_parameters)
        The trainable parameters. A single member has two rows, of which the second is spare: kernels for one matrix
        round in another way, and a member must not depend on its neighbours.
    leaves : dict of Tensor
        Views of ``theta`` by name, each of shape (n_members, ...), that gradients are taken of.

    Raises
    ------
    NotStackableError
        If the modules are not alike, or have parameters of several dtypes or devices.
    """

    def __init__(self, modules: Sequence[nn.Module]):
        self.modules = list(modules)
        first = self.modules[0]
        self._check()
        self.trained = [name for name, p in first.named_parameters() if p.requires_grad]
        own = [dict(m.named_parameters()) for m in self.modules]
        shapes = [own[0][name].shape for name in self.trained]
        ends = torch.tensor([0, *(s.numel() for s in shapes)]).cumsum(0).tolist()
        self._places = dict(zip(self.trained, zip(ends[:-1], ends[1:], shapes, strict=True), strict=True))
        like = own[0][self.trained[0]]
        self.theta = torch.empty(max(2, len(own)), ends[-1], dtype=like.dtype, device=like.device)
        for name, (start, stop, _) in self._places.items():
            for row, parameters in zip(self.theta, own, strict=False):
                row[start:stop] = parameters[name].detach().reshape(-1)
                parameters[name].data = row[start:stop].view(parameters[name].shape)  # frees the tensor it had
        self.theta[len(own) :] = self.theta[0]
        self.held: dict[str, Tensor] = {}
        for name in _held(first):
            tensors = [_held(m)[name] for m in self.modules]
            self.held[name] = torch.stack(_with_spare([t.detach() for t in tensors]))
            for k, t in enumerate(tensors):
                t.data = self.held[name][k]
        self._cut()

    def _check(self) -> None:
        first = self.modules[0]
        if any(nn.parameter.is_lazy(t) for m in self.modules for t in (*m.parameters(), *m.buffers())):
            raise NotStackableError("it has lazy layers that have seen no data")
        form, own = _form(first), attributes(first)
        for k, module in enumerate(self.modules[1:], start=1):
            if _form(module) != form:
                raise NotStackableError(f"members 0 and {k} differ in their tensors or in which of them are trained")
            if (name := difference(own, attributes(module))) is not None:
                raise NotStackableError(f"members 0 and {k} differ in the attribute {name!r} of {type(first).__name__}")
        trained = [p for p in first.parameters() if p.requires_grad]
        if len({(p.dtype, p.device) for p in trained}) != 1:
            raise NotStackableError("its trained parameters have several dtypes or devices, or there are none")

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
            if place is not None and found is not place:
                if found.shape[found.dim() - tensor.dim() :] != place.shape[1:] or found.dtype != place.dtype:
                    raise NotStackableError(f"it changes the shape or the dtype of its buffer {name!r}")
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
        found = torch.autograd.grad(loss, list(self.leaves.values()), torch.ones_like(loss), allow_unused=True)
        parts = []
        for name, part in zip(self.leaves, found, strict=True):
            if part is None:
                raise NotStackableError(f"its parameter {name!r} takes no part in the loss")
            parts.append(part.reshape(len(part), -1))
        return torch.cat(parts, 1, out=out)

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

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some members; the others get tensors of their own.

        Parameters
        ----------
        members : sequence of int
            Their places among ``modules``, at least one.
        """
        self.release(set(range(len(self.modules))) - set(members))
        self.modules = [self.modules[k] for k in members]
        index = torch.tensor(_with_spare(list(members)), device=self.theta.device)
        self.theta = self.theta[index]
        self.held = {name: t[index] for name, t in self.held.items()}
        for k, module in enumerate(self.modules):
            own = dict(module.named_parameters())
            for name, part in self.by_name(self.theta[k]).items():
                own[name].data = part
            for name, tensor in _held(module).items():
                tensor.data = self.held[name][k]
        self._cut()

    def release(self, members: Iterable[int]) -> None:
        """Give members tensors of their own, so that they no longer hold the whole stack.

        Parameters
        ----------
        members : iterable of int
            Their places among ``modules``.
        """
        for k in members:
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


def _form(module: nn.Module) -> list[Any]:
    tensors: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    names = {id(t): name for name, t in tensors}
    tied = [(name, names[id(t)]) for name, t in module.named_parameters(remove_duplicate=False)]
    return [[(name, tuple(t.shape), t.dtype, t.requires_grad) for name, t in tensors], tied]
