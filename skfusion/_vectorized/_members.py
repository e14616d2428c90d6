"""One tensor that stands for K tensors of one shape, one a member.

A module that is given such tensors, as parameters and as input, computes all members at once, for every torch function
that it calls is applied to all of them: by a rule of :mod:`skfusion._vectorized._rules` where a kernel for many
members is known, and by ``torch.func.vmap`` of that one function otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

Rule = Callable[..., Any]
"""``rule(func, *args, **kwargs)`` gives the physical result for all members, or ``NotImplemented``."""

RULES: dict[Any, Rule] = {}

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
"""What is asked of the shape and kind of a tensor, which members share."""


class Members(Tensor):
    """K tensors of one shape as one tensor of that shape.

    Parameters
    ----------
    value : Tensor of shape (n_members, ...)
        All of them.
    """

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor) -> Members:
        """Return a tensor without data of its own."""
        made: Members = torch.Tensor._make_wrapper_subclass(
            cls, value.shape[1:], dtype=value.dtype, device=value.device
        )
        made.value = value
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Members({self.value!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Apply a function of torch to every member."""
        kwargs = kwargs or {}
        if func in RULES:
            found = by_rule(func, args, kwargs)
            if found is not NotImplemented:
                return Members(found) if isinstance(found, Tensor) else found
        elif func in OF_ONE_MEMBER:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        return mapped(func, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Refuse what reaches a kernel without having passed a function of torch."""
        raise NotImplementedError(f"{func} cannot run on many members at once.")


def by_rule(func: Any, args: Any, kwargs: Any) -> Any:
    """Apply the rule of a function; it declines arguments under names that it does not know."""
    try:
        return RULES[func](func, *args, **kwargs)
    except TypeError:
        return NotImplemented


def mapped(func: Any, args: Any, kwargs: Any) -> Any:
    """Apply a function to every member by ``vmap``; random draws are refused, for all would share one stream."""
    flat, spec = tree_flatten((args, kwargs))
    where = [i for i, a in enumerate(flat) if isinstance(a, Members)]
    form: list[Any] = []

    def one(*parts: Tensor) -> list[Tensor]:
        full = list(flat)
        for i, part in zip(where, parts, strict=True):
            full[i] = part
        own_args, own_kwargs = tree_unflatten(full, spec)
        out, out_spec = tree_flatten(func(*own_args, **own_kwargs))
        form[:] = [out, out_spec]
        return [t for t in out if isinstance(t, Tensor)]

    found = iter(vmap(one, randomness="error")(*(flat[i].value for i in where)))
    return tree_unflatten([Members(next(found)) if isinstance(t, Tensor) else t for t in form[0]], form[1])


def rule(*funcs: Any) -> Callable[[Rule], Rule]:
    """Register the rule of some functions."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(funcs, function))
        return function

    return register


@contextmanager
def lent(module: nn.Module, tensors: Mapping[str, Tensor], slots: Slots | None = None) -> Iterator[nn.Module]:
    """Let a module compute with other tensors under its names; like ``functional_call``, for many calls.

    Parameters
    ----------
    module : nn.Module
        Its own tensors come back at the end.
    tensors : dict of Tensor
        Parameters and buffers by name; a tensor that is tied under several names needs only one of them.
    slots : dict, optional
        The module's :func:`slots_of`, which a caller may keep.

    Yields
    ------
    nn.Module
        The module.
    """
    slots = slots_of(module) if slots is None else slots
    kept = [(holder, key, holder[key]) for holders in slots.values() for holder, key in holders]
    try:
        for name, tensor in tensors.items():
            for holder, key in slots[name]:
                holder[key] = tensor
        yield module
    finally:
        for holder, key, own in kept:
            holder[key] = own


def slots_of(module: nn.Module) -> Slots:
    """Return the places of each tensor of a module.

    Parameters
    ----------
    module : nn.Module
        Any.

    Returns
    -------
    dict
        Lists of dictionaries and keys by the name of the tensor; names of one tied tensor share their places.
    """
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
