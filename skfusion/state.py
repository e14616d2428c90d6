"""Arithmetic on states: plain ``dict[str, Tensor]``, as ``nn.Module.state_dict()`` gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

State = dict[str, Tensor]
"""Parameters and buffers by name."""


_ADVICE = (
    "Weight-space methods need members of one architecture. Members of unlike architectures can be combined by their "
    "predictions: EnsembleClassifier, EnsembleRegressor, StackingFusion."
)


def check_compatible(states: Sequence[State], names: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` where the networks of states cannot be merged tensor by tensor.

    So they cannot where tensors have other names or shapes, NaN or infinity, or where integers differ that have axes:
    these are positions, such as of the columns that a network sees. One without axes is a counter, as BatchNorm's.

    Parameters
    ----------
    states : sequence of State
        States of one architecture, all finite.
    names : sequence of str, optional
        What to call the states in a message; their positions when omitted.
    """
    _check_alike(states, names)
    names = names or [str(i) for i in range(len(states))]
    for key, first in states[0].items():
        if not is_position(first):
            continue
        for name, other in zip(names, states, strict=True):
            if not torch.equal(addable(first), addable(other[key]).to(first.device)):
                raise ValueError(
                    f"Tensor {key!r} holds integers, and other ones in member {names[0]} than in member {name}: the "
                    "networks compute unlike things, such as on the columns that Bootstrap(max_features=...) draws for "
                    f"each, so their weights do not belong together. {_ADVICE}"
                )


def is_position(t: Tensor) -> bool:
    """Return whether a tensor holds integers that have axes, such as which columns a network sees."""
    return t.dim() > 0 and t.dtype != torch.bool and not t.is_floating_point() and not t.is_complex()


def _check_alike(states: Sequence[State], names: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` where states cannot be added tensor by tensor."""
    if not states:
        raise ValueError("No states to merge: the pool is empty. Give at least one member.")
    names = names or [str(i) for i in range(len(states))]
    first = states[0]
    for name, other in zip(names, states, strict=True):
        for key in [*first, *(k for k in other if k not in first)]:
            if key not in other or key not in first:
                holder, lacker = (names[0], name) if key in first else (name, names[0])
                raise ValueError(f"Tensor {key!r} of member {holder} is missing in member {lacker}. {_ADVICE}")
            if other[key].shape != first[key].shape:
                shapes = (
                    f"{tuple(first[key].shape)} in member {names[0]} and {tuple(other[key].shape)} in member {name}"
                )
                raise ValueError(f"Tensor {key!r} has shape {shapes}. {_ADVICE}")
        check_finite(other, name)


def check_finite(state: State, name: str) -> None:
    """Raise ``ValueError`` that names the first tensor of a state with NaN or infinity in it."""
    for key, value in state.items():
        if value.is_floating_point() and value.numel():
            low, high = map(float, value.detach().aminmax())  # both are NaN where one number is
            if not (-math.inf < low and high < math.inf):
                raise ValueError(
                    f"Tensor {key!r} of member {name} holds NaN or infinity: its training diverged. Drop this member "
                    "from the pool, or train it with a smaller learning rate."
                )


def map_tensors(function: Callable[..., Tensor], *states: State) -> State:
    """Apply ``function(*tensors)`` under every name; tensors tied in all states stay tied in the result."""
    out: State = {}
    for key, owner in owners(states).items():
        out[key] = out[owner] if owner != key else function(*(s[key] for s in states))
    return out


def owners(states: Sequence[State]) -> dict[str, str]:
    """Map each name to the first name of its tensor: names that are tied in all states have one owner."""
    places: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    for key, first in states[0].items():
        place = tuple((s[key].data_ptr(), s[key].shape, s[key].stride(), s[key].dtype) for s in states)
        found[key] = places.setdefault(place, key) if first.numel() else key
    return found


def is_statistic(name: str) -> bool:
    """Return whether a tensor of this name is a running mean or variance of BatchNorm."""
    return name.rpartition(".")[2] in ("running_mean", "running_var")


def copy(state: State) -> State:
    """Return a detached copy; tied tensors stay tied."""
    return map_tensors(lambda t: t.detach().clone(), state)


def weighted_sum(states: Sequence[State], weights: Sequence[float] | Tensor) -> State:
    r"""Return :math:`\sum_k w_k \theta_k`, tensor by tensor.

    Floating-point tensors are accumulated in float64 and returned in their own dtype. Integer tensors, such as
    BatchNorm's batch counter, cannot be averaged: the elementwise maximum over the states of non-zero weight is
    taken, which keeps equal ones and does not depend on the order.

    Parameters
    ----------
    states : sequence of State
        K states of one architecture.
    weights : sequence of float, shape (K,)
        One coefficient a state; not normalised.

    Returns
    -------
    State
        New tensors with the names, shapes, dtypes and devices of ``states[0]``.

    Raises
    ------
    ValueError
        If the states are not of one architecture, or a sum is too large for its dtype; it names the tensor.
    """
    _check_alike(states)
    coefficients = [float(w) for w in weights]
    if len(coefficients) != len(states):
        raise ValueError(f"Got {len(coefficients)} weights for {len(states)} states; give one weight a state.")
    kept = [k for k, c in enumerate(coefficients) if c != 0] or [0]

    def add(tensors: Sequence[Tensor]) -> Tensor:
        first = tensors[0]
        if not (first.is_floating_point() or first.is_complex()):
            return torch.stack([tensors[k].detach() for k in kept]).amax(dim=0)
        wide = torch.complex128 if first.is_complex() else torch.float64
        total = torch.zeros(first.shape, dtype=wide, device=first.device)
        for k in kept:
            total.add_(tensors[k].detach().to(first.device, wide), alpha=coefficients[k])
        return total

    out: State = {}
    for key, owner in owners(states).items():
        out[key] = out[owner] if owner != key else narrowed(add([s[key] for s in states]), states[0][key].dtype, key)
    return out


def narrowed(tensor: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Return a merged tensor in the dtype of the result, or raise ``ValueError`` where a number is too large for it."""
    if tensor.is_floating_point() and tensor.numel():
        low, high = map(float, addable(tensor.detach()).aminmax())
        largest = max(-low, high)
        limit = torch.finfo(dtype).max * (1 + 1e-9)  # a mean of largest numbers exceeds them by its rounding
        if not (largest <= limit and largest < math.inf):
            raise ValueError(
                f"The merged tensor {name!r} reaches {largest:.3g}, and {dtype} ends at "
                f"{torch.finfo(dtype).max:.3g}. Give a first member of a wider dtype, or go less far from the base."
            )
    return tensor.to(dtype)


def addable(tensor: Tensor) -> Tensor:
    """Return a tensor in a dtype that torch can add or compare: no eight-bit float, no unsigned integer."""
    if tensor.is_floating_point() and tensor.element_size() == 1:
        return tensor.to(torch.float64)
    return tensor.to(torch.int64) if tensor.dtype in (torch.uint16, torch.uint32) else tensor


class RunningSum:
    """A sum of states of one architecture in float64, to which states are added one by one.

    Parameters
    ----------
    state : State
        The first one.
    """

    def __init__(self, state: State):
        self._like, self._n = state, 1
        self._sum = {k: t.detach().to(_wide(t)) for k, t in state.items()}

    def plus(self, state: State) -> RunningSum:
        """Return the sum with one more state; this one stays as it is.

        Parameters
        ----------
        state : State
            Of the same architecture, which is not checked.

        Returns
        -------
        RunningSum
            The new sum.
        """
        out = object.__new__(RunningSum)
        out._like, out._n = self._like, self._n + 1
        out._sum = {
            k: total + state[k] if _is_mean(total) else torch.maximum(total, state[k]) for k, total in self._sum.items()
        }
        return out

    def mean(self) -> State:
        """Return the mean in the dtypes of the first state; of integer tensors the maximum, as in :func:`weighted_sum`.

        Returns
        -------
        State
            New tensors.
        """
        return {
            k: (total / self._n).to(self._like[k].dtype) if _is_mean(total) else total for k, total in self._sum.items()
        }


def _is_mean(t: Tensor) -> bool:
    return t.is_floating_point() or t.is_complex()


def _wide(t: Tensor) -> torch.dtype:
    return torch.complex128 if t.is_complex() else torch.float64 if t.is_floating_point() else t.dtype


def difference(a: State, b: State) -> State:
    """Return ``a - b`` on floating-point tensors (a task vector) and zeros on integer ones."""
    _check_alike([a, b])
    return map_tensors(lambda x, y: (x - y) if x.is_floating_point() else torch.zeros_like(x), a, b)


def stack(states: Sequence[State]) -> State:
    """Return one state whose tensors carry the K states along a new first axis."""
    _check_alike(states)
    return map_tensors(lambda *tensors: torch.stack([t.detach() for t in tensors]), *states)


def flatten(state: State) -> Tensor:
    """Return the floating-point tensors as one float64 vector, shape (d,); tied tensors count once."""
    unique = {(t.data_ptr(), t.shape, t.stride()): t for t in state.values() if t.is_floating_point()}
    if not unique:
        return torch.zeros(0, dtype=torch.float64)
    return torch.cat([t.detach().reshape(-1).to("cpu", torch.float64) for t in unique.values()])


def distance(a: State, b: State) -> float:
    """Return the Euclidean distance between two states over their floating-point tensors."""
    _check_alike([a, b])
    return float(torch.linalg.vector_norm(flatten(a) - flatten(b)))


def n_parameters(state: State) -> int:
    """Return the number of numbers that a state holds; tied tensors count once."""
    return sum(t.numel() for t in _unique(state))


def n_bytes(state: State) -> int:
    """Return the bytes that a state holds; tied tensors count once."""
    return sum(t.numel() * t.element_size() for t in _unique(state))


def _unique(state: State) -> list[Tensor]:
    return list({(t.data_ptr(), t.shape, t.stride()): t for t in state.values()}.values())
