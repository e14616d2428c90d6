"""Arithmetic on states: plain ``dict[str, Tensor]``, as ``nn.Module.state_dict()`` gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skfusion._numbers import addable, is_finite, is_summed, kind_of, place_of, real
from skfusion._sums import RunningSum as RunningSum  # a part of the arithmetic
from skfusion._sums import WeightedSums

State = dict[str, Tensor]
"""Parameters and buffers by name."""


class Fused(NamedTuple):
    """What a merger returns in the place of a state where it changes the architecture, such as the width of a layer.

    Parameters
    ----------
    state : State
        The merged weights.
    net : nn.Module, optional
        The architecture of ``state``; that of the members when omitted.
    """

    state: State
    net: nn.Module | None = None


_ADVICE = (
    "Weight-space methods need members of one architecture. Members of different architectures can be combined by "
    "their predictions: EnsembleClassifier, EnsembleRegressor, StackingFusion. Where only hidden layers have different "
    "widths, merge them by Barycenter or ZipIt, or give align=OTFusion()."
)


def check_compatible(
    states: Sequence[State], names: Sequence[str] | None = None, *, any_width: bool = False, any_device: bool = False
) -> None:
    """Raise ``ValueError`` where the networks of states cannot be merged tensor by tensor.

    That is where tensors have different names or shapes, hold NaN or infinity, are integers in one state and
    floating-point numbers in another, or where integers that have axes differ: these are positions, such as of the
    columns that a network sees. An integer without axes is a counter, as in BatchNorm. Files are merged by the same
    rule. ``names`` are what states are called in a message; their positions when omitted. With ``any_width`` shapes may
    differ, as where hidden layers have different numbers of units; with ``any_device`` states may be on several
    devices, where who asks moves them to one.
    """
    _check_addable(states, names, any_width, any_device)
    names = names or [str(i) for i in range(len(states))]
    for key, first in states[0].items():
        for name, other in zip(names, states, strict=True):
            if kind_of(other[key]) != kind_of(first):
                raise ValueError(
                    f"Tensor {key!r} is {first.dtype} in member {names[0]} and {other[key].dtype} in member {name}: "
                    "only the precision of floating-point tensors may differ. Convert one of them."
                )
            if is_position(first) and not torch.equal(addable(first), addable(other[key]).to(first.device)):
                raise ValueError(
                    f"Tensor {key!r} holds integers, and other ones in member {names[0]} than in member {name}: the "
                    "networks compute different things, such as on the columns that Bootstrap(max_features=...) draws "
                    f"for each, so their weights do not belong together. {_ADVICE}"
                )


def is_position(t: Tensor) -> bool:
    """Return whether a tensor holds integers with axes, such as the columns that a network sees."""
    return t.dim() > 0 and t.dtype != torch.bool and not is_summed(t)


def _check_addable(
    states: Sequence[State], names: Sequence[str] | None = None, any_width: bool = False, any_device: bool = True
) -> None:
    """Raise ``ValueError`` where states cannot be added tensor by tensor."""
    if not states:
        raise ValueError("No states to merge: the pool is empty. Give at least one member.")
    names = names or [str(i) for i in range(len(states))]
    first = states[0]
    for name, other in zip(names, states, strict=True):
        if not isinstance(other, Mapping):
            hint = " Give its state_dict()." if isinstance(other, nn.Module) else ""
            raise TypeError(f"The state of member {name} must be a dict of tensors by name; got {type(other)}.{hint}")
        for key in [*first, *(k for k in other if k not in first)]:
            if key not in other or key not in first:
                holder, lacker = (names[0], name) if key in first else (name, names[0])
                raise ValueError(f"Tensor {key!r} of member {holder} is missing in member {lacker}. {_ADVICE}")
            if other[key].shape != first[key].shape and not any_width:
                a, b = tuple(first[key].shape), tuple(other[key].shape)
                raise ValueError(
                    f"Tensor {key!r} has shape {a} in member {names[0]} and {b} in member {name}. {_ADVICE}"
                )
            if other[key].device != first[key].device and not any_device:
                here, there = str(first[key].device), str(other[key].device)
                raise ValueError(
                    f"Tensor {key!r} is on the device {here!r} in member {names[0]} and on {there!r} in member {name}. "
                    f"Move one of them: {{key: t.to({here!r}) for key, t in state.items()}}."
                )
        check_finite(other, name)


def check_finite(state: State, name: str) -> None:
    """Raise ``ValueError`` that names the first tensor of a state with NaN or infinity in it, or with no numbers."""
    check_has_numbers(state, name)
    for key, value in state.items():
        if not is_finite(value):
            raise ValueError(
                f"Tensor {key!r} of member {name} holds NaN or infinity: its training diverged. Drop this member "
                "from the pool, or train it with a smaller learning rate. A mask with infinity must not be in the "
                "state: register_buffer(..., persistent=False)."
            )


def check_has_numbers(state: State, name: str) -> None:
    """Raise ``ValueError`` that names the first tensor of a state that has a shape and no numbers."""
    for key, value in state.items():
        if value.is_meta:
            raise ValueError(
                f"Tensor {key!r} of member {name} is on the device 'meta', where tensors have no numbers. Load its "
                "weights first: module.to_empty(device='cpu'), and module.load_state_dict(...)."
            )


def misfit(state: State, module: nn.Module) -> tuple[str, str, str] | None:
    """Return the first tensor that does not fit a module, with its shapes in the state and there; None if all fit."""
    expected = module.state_dict()
    for key in [*expected, *(k for k in state if k not in expected)]:
        shape = str(tuple(state[key].shape)) if key in state else "missing"
        needed = "unknown"
        if key in expected:
            needed = shape if nn.parameter.is_lazy(expected[key]) else str(tuple(expected[key].shape))
        if shape != needed:
            return key, shape, needed
    return None


def map_tensors(function: Callable[..., Tensor], *states: State) -> State:
    """Apply ``function(*tensors)`` under every name; tensors tied in all states stay tied in the result."""
    out: State = {}
    for key, owner in owners(states).items():
        out[key] = out[owner] if owner != key else function(*(s[key] for s in states))
    return out


def owners(states: Sequence[State]) -> dict[str, str]:
    """Map each name to the first name of its tensor: names that are tied in all states have one owner."""
    places: dict[tuple[object, ...], str] = {}
    owner: dict[str, str] = {}
    for key, first in states[0].items():
        place = tuple(place_of(s[key]) for s in states)
        owner[key] = places.setdefault(place, key) if first.numel() else key
    return owner


def is_statistic(name: str) -> bool:
    """Return whether a tensor of this name is a running mean or variance of BatchNorm."""
    return name.rpartition(".")[2] in ("running_mean", "running_var")


def copy(state: State) -> State:
    """Return a detached copy; tied tensors stay tied."""
    return map_tensors(lambda t: t.detach().clone(), state)


def weighted_sum(states: Sequence[State], weights: Sequence[float] | Tensor) -> State:
    r"""Return :math:`\sum_k w_k \theta_k`, tensor by tensor.

    Floating-point and complex tensors are accumulated in double precision and returned in their dtype. Others, such as
    BatchNorm's batch counter, cannot be averaged: the elementwise maximum over the states of non-zero weight is taken,
    which keeps equal ones and does not depend on the order. That arrays of integers are equal, as networks that are
    merged must have them, is checked by :func:`check_compatible`.

    Parameters
    ----------
    states : sequence of State
        K states of one architecture.
    weights : sequence of float, shape (K,)
        One coefficient for each state; they are not normalised.

    Returns
    -------
    State
        New tensors with the names, shapes, dtypes and devices of ``states[0]``.

    Raises
    ------
    ValueError
        If the states are not of one architecture, or a sum is too large for its dtype; it names the tensor.
    """
    _check_addable(states)
    return WeightedSums(states, owners(states))([float(w) for w in weights], apart=True)


def rest_of(coefficients: Sequence[float]) -> float:
    """Return what coefficients lack to a sum of one; 0 where that is rounding."""
    rest = 1 - math.fsum(coefficients)
    return rest if abs(rest) >= 1e-12 else 0.0


def weighted_sums(states: Sequence[State]) -> WeightedSums:
    """Return ``weighted_sum(states, weights)`` as a function of the weights, of states that are known to be addable.

    Small tensors of one such sum are views of one buffer, unless a second argument is true.
    """
    return WeightedSums(states, owners(states))


def difference(a: State, b: State) -> State:
    """Return ``a - b`` on floating-point and complex tensors (a task vector), and zeros on others.

    Eight-bit numbers give differences in double precision, as eight bits cannot hold them.
    """
    _check_addable([a, b])
    return map_tensors(_difference, a, b)


def _difference(x: Tensor, y: Tensor) -> Tensor:
    return addable(x.detach()) - addable(y.detach()) if is_summed(x) else torch.zeros_like(x)


def stack(states: Sequence[State]) -> State:
    """Return one state whose tensors carry the K states along a new first axis."""
    _check_addable(states)
    return map_tensors(lambda *tensors: torch.stack([t.detach() for t in tensors]), *states)


def numbers_of(states: Sequence[State]) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each floating-point or complex tensor, and its numbers in all states.

    Tensors are matched by name; those that are tied in all states come once. Numbers are in float64 on the CPU, of
    shape (n_states, n_numbers); a complex number counts as two.
    """
    for key, owner in owners(states).items():
        if owner == key and is_summed(states[0][key]):
            yield key, torch.stack([real(s[key]).to("cpu", torch.float64).reshape(-1) for s in states])


def flatten(state: State, like: Sequence[State] = ()) -> Tensor:
    """Return the numbers of a state as one float64 vector, shape (d,), by the alphabetical order of names.

    Integer tensors are left out. Tensors that are tied in the state, and in the states ``like``, count once: give those
    with which the vector is compared.
    """
    parts = [rows[0] for _, rows in numbers_of([dict(sorted(state.items())), *like])]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def distance(a: State, b: State) -> float:
    """Return the Euclidean distance between two states over their floating-point and complex tensors."""
    _check_addable([a, b])
    return math.sqrt(sum(float((x - y).square().sum()) for _, (x, y) in numbers_of([a, b])))


def n_parameters(state: State) -> int:
    """Return the number of numbers that a state holds; tied tensors count once."""
    return sum(t.numel() for t in _unique(state))


def n_bytes(state: State) -> int:
    """Return the bytes that a state holds; tied tensors count once."""
    return sum(t.numel() * t.element_size() for t in _unique(state))


def _unique(state: State) -> list[Tensor]:
    return list({place_of(t): t for t in state.values()}.values())
