"""The first batch of a stack, compared with that of a member by itself; and why a stack has failed."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.nn.modules.dropout import _DropoutNd

from skfusion._vectorized import Members, NotVectorizableError, Stack, attributes, difference, lent
from skfusion.nets.vectorized._member import TrainingMember, member_of

Computed = tuple[Tensor, Any]
"""Loss of each member, and the gradients, as a matrix or in parts."""


def prove(stack: Stack, seats: Sequence[TrainingMember], batch: Any, compute: Callable[[], Computed]) -> Computed:
    """Compute the first batch, and compare it with what a member gets by itself: loss, gradients and buffers.

    Parameters
    ----------
    stack : Stack
        Which is running.
    seats : sequence of TrainingMember
        Its members.
    batch : tuple
        Their first batch.
    compute : callable
        Gives the losses and gradients of all members.

    Returns
    -------
    tuple
        What ``compute`` gives.

    Raises
    ------
    NotVectorizableError
        If anything differs, or what differs might not be seen.
    """
    noisy = _noise(seats[0])
    before = {name: t.clone() for name, t in stack.held.items()} if noisy else {}
    for owner, name, value in noisy:
        setattr(owner, name, type(value)(0))
    found = _compare(stack, seats, batch, compute)
    if not noisy:
        return found
    for owner, name, value in noisy:
        setattr(owner, name, value)
    for name, t in before.items():
        stack.held[name].copy_(t)
    return compute()


def _noise(seat: TrainingMember) -> list[tuple[nn.Module, str, Any]]:
    """Return what makes dropout draw, where a member by itself draws other masks: off the CPU."""
    if seat.masks is seat.stream:
        return []
    modules = [*seat.net.module_.modules()]
    layers = [(m, "training", m.training) for m in modules if isinstance(m, _DropoutNd)]
    return layers + [(m, "dropout", m.dropout) for m in modules if isinstance(m, nn.MultiheadAttention)]


def _compare(stack: Stack, seats: Sequence[TrainingMember], batch: Any, compute: Callable[[], Computed]) -> Computed:
    seat, module = seats[0], seats[0].net.module_
    name = type(module).__name__
    kept, beside = attributes(module), seat.beside()
    k, alone, asked, buffers = _alone(stack, seats, batch)
    if (changed := difference(kept, attributes(module))) is not None:
        raise NotVectorizableError(f"{name} changes its attribute {changed!r} in its forward pass")
    if (changed := difference(beside, seat.beside())) is not None:
        raise NotVectorizableError(f"the attribute {changed!r} of {type(seat.net).__name__} changes with its loss")
    with fast_and_without_draws(name):
        loss, grad = compute()
    firsts = stack.by_name(grad[k]).values() if isinstance(grad, Tensor) else [part[k] for _, part in grad]
    exact = stack.theta.dtype in (torch.float32, torch.float64)
    tolerance, floor = (1e-2, 1e-3) if exact else (0.2, 0.1)
    largest = max(_size(g) for g in asked if g is not None)
    pairs = [(alone, loss[k], _size(alone) + 1e-3)]
    for a, b in zip(asked, firsts, strict=True):
        own = torch.zeros_like(b) if a is None else a
        pairs.append((own, b, max(_size(own), floor * largest)))
    after = {key: t.value if isinstance(t, Members) else t for key, t in module.named_buffers()}
    pairs += [(t, after[key][k], _size(t) + 1e-6) for key, t in buffers.items()]
    for a, b, size in pairs:
        if not float((a.detach().double() - b.detach().double()).abs().amax() if a.numel() else 0) <= tolerance * size:
            raise NotVectorizableError(f"{name} gives other gradients in a stack than alone")
    return loss, grad


def _alone(
    stack: Stack, seats: Sequence[TrainingMember], batch: Any
) -> tuple[int, Tensor, Sequence[Any], dict[str, Tensor]]:
    """Compute the first batch of a member by itself: of the first one in which all numbers are finite.

    Returns its place, its loss, its gradients, and its buffers after the forward pass.
    """
    net = seats[0].net
    module = net.module_
    for k, seat in enumerate(seats):
        own = {key: t[k].clone() for key, t in (*stack.leaves.items(), *stack.held.items())}
        leaves = [own[key].requires_grad_() for key in stack.leaves]
        with lent(module, own), seat.drawing(keep=False):
            x, y, weight = (member_of(part, k) for part in batch)
            seats[0].weigh(weight)
            loss = net.get_loss(net.infer(x), y, X=x, training=True)
            buffers = {key: t.detach() for key, t in module.named_buffers()}
            if made := [key for key in buffers if key not in stack.held]:
                raise NotVectorizableError(f"it makes its buffer {made[0]!r} in its forward pass")
            _check_graph(loss)
            grads = torch.autograd.grad(loss, leaves, allow_unused=True)
        if all(bool(t.isfinite().all()) for t in (loss, *(g for g in grads if g is not None))):
            return k, loss, grads, buffers
    raise NotVectorizableError("no member has a finite loss and finite gradients in its first batch")


def _check_graph(loss: Tensor) -> None:
    """Raise where a gradient is written in Python: for many members it would not be asked."""
    seen, rest = set(), [loss.grad_fn]
    while rest:
        node = rest.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, BackwardCFunction):
            raise NotVectorizableError(
                f"{node.name().removesuffix('Backward')} has a gradient that is written in Python"
            )
        seen.add(node)
        rest += [following for following, _ in node.next_functions]


def _size(t: Tensor) -> float:
    return float(t.detach().abs().max()) if t.numel() else 0.0


@contextmanager
def fast_and_without_draws(name: str) -> Iterator[None]:
    """Raise where ``vmap`` has no kernel for a step, or where all members would draw from one stream."""
    with warnings.catch_warnings(), without_draws(name):
        warnings.filterwarnings("error", "There is a performance drop")
        yield


@contextmanager
def without_draws(name: str) -> Iterator[None]:
    """Raise where a forward pass has drawn from a generator that members share."""
    before = _streams()
    yield
    if _streams() != before:
        raise NotVectorizableError(f"{name} draws random numbers in its forward pass")


def _streams() -> tuple[Any, ...]:
    """Return the states of the random generators that a forward pass might draw from."""
    cuda = (
        [torch.cuda.get_rng_state(i).tolist() for i in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )
    _, key, *place = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), key.tobytes(), place, cuda


def reason(error: BaseException) -> str:
    """Return why a stack has failed, as half a sentence that names the innermost module or callback."""
    name, trace = "its forward pass", error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        name = type(owner).__name__ if isinstance(owner, (nn.Module, Callback)) else name
        trace = trace.tb_next
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{name} cannot be computed for many members: {first.partition('. Please file')[0]}"
