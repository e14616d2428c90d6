"""One tensor that stands for K tensors of one shape, one for each member.

A module that is given such tensors, as parameters and as input, computes all members at once, because every torch
function that it calls is applied to all of them: by a kernel of :mod:`skfusion._vectorized._kernels` where one for many
members is known, and by ``torch.func.vmap`` of that one function otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

Kernel = Callable[..., Any]
"""``kernel(func, *args, **kwargs)`` gives the tensor of all members, or ``NotImplemented``."""

KERNELS: dict[Any, Kernel] = {}

Slots = dict[str, list[tuple[dict[str, Any], str]]]
"""The places of each tensor of a module: dictionaries and the keys under which they hold it."""

OF_ONE_MEMBER = {
    Tensor.size,
    Tensor.dim,
    Tensor.numel,
    Tensor.__len__,
    Tensor.is_floating_point,
    Tensor.is_complex,
    *(
        getattr(Tensor, name).__get__
        for name in ("shape", "ndim", "dtype", "device", "layout", "is_cuda", "is_sparse", "is_nested", "is_quantized")
    ),
}
"""Questions about the shape and the kind of a tensor, which have one answer for all members."""


class NotVectorizableError(ValueError):
    """A network cannot be computed for many members at once; the message says why, as half a sentence."""


class Members(Tensor):
    """K tensors of one shape as one tensor of that shape; ``value`` has the shape (n_members, ...)."""

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor) -> Members:
        made: Members = torch.Tensor._make_wrapper_subclass(
            cls, value.shape[1:], dtype=value.dtype, device=value.device
        )
        made.value = value
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Members({self.value!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in KERNELS:
            result = by_kernel(func, args, kwargs)
            if result is not NotImplemented:
                return as_members(result)
        elif func in OF_ONE_MEMBER:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        return mapped(func, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        # An operator that was not called through a torch function would compute on a tensor without data.
        raise NotImplementedError(f"{func} cannot run on many members at once.")


def as_members(result: Any) -> Any:
    """Return the result of a kernel, which is a tensor of all members or has been made :class:`Members` by it."""
    return Members(result) if isinstance(result, Tensor) and not isinstance(result, Members) else result


def member_of(x: Any, k: int) -> Any:
    """Return the part of one member in tensors, and in dicts and tuples of them."""
    return tree_map(lambda v: v.value[k] if isinstance(v, Members) else v, x)


def by_kernel(func: Any, args: Any, kwargs: Any) -> Any:
    """Apply the kernel of a function; one that does not know an argument's name declines the call."""
    try:
        return KERNELS[func](func, *args, **kwargs)
    except TypeError:
        return NotImplemented


def mapped(func: Any, args: Any, kwargs: Any) -> Any:
    """Apply a function to every member by ``vmap``; random draws are refused, as all would share one generator."""
    flat, spec = tree_flatten((args, kwargs))
    places = [i for i, a in enumerate(flat) if isinstance(a, Members)]
    structure: list[Any] = []  # of the result, which ``vmap`` itself may return only as tensors

    def of_one(*parts: Tensor) -> list[Tensor]:
        full = list(flat)
        for i, part in zip(places, parts, strict=True):
            full[i] = part
        member_args, member_kwargs = tree_unflatten(full, spec)
        out, out_spec = tree_flatten(func(*member_args, **member_kwargs))
        structure[:] = [out, out_spec]
        return [t for t in out if isinstance(t, Tensor)]

    results = iter(vmap(of_one, randomness="error")(*(flat[i].value for i in places)))
    out, out_spec = structure
    return tree_unflatten([Members(next(results)) if isinstance(t, Tensor) else t for t in out], out_spec)


def kernel_of(*funcs: Any) -> Callable[[Kernel], Kernel]:
    """Register the kernel of some torch functions."""

    def register(function: Kernel) -> Kernel:
        KERNELS.update(dict.fromkeys(funcs, function))
        return function

    return register


@contextmanager
def lent(module: nn.Module, tensors: Mapping[str, Tensor], slots: Slots | None = None) -> Iterator[nn.Module]:
    """Let a module compute with other tensors under its names: ``functional_call`` for many calls.

    Its own tensors come back at the end. A tensor that is tied under several names needs only one of them. ``slots`` is
    what :func:`slots_of` returns for the module, which a caller that lends often may keep.
    """
    slots = slots_of(module) if slots is None else slots
    kept = [(holder, key, holder[key]) for holders in slots.values() for holder, key in holders]
    try:
        for name, tensor in tensors.items():
            for holder, key in slots[name]:
                holder[key] = tensor
        yield module
    finally:
        for holder, key, before in kept:
            holder[key] = before


def slots_of(module: nn.Module) -> Slots:
    """Return the places of each tensor of a module by name; names of one tied tensor share their places."""
    of_tensor: dict[int, list[tuple[dict[str, Any], str]]] = {}
    names: dict[str, int] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for holder in (part._parameters, part._buffers):
            for key, tensor in holder.items():
                if tensor is not None:
                    places = of_tensor.setdefault(id(tensor), [])
                    if not any(h is holder and k == key for h, k in places):
                        places.append((holder, key))
                    names[f"{prefix}.{key}" if prefix else key] = id(tensor)
    return {name: of_tensor[i] for name, i in names.items()}
