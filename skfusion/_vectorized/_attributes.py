"""What modules are beside their tensors: all members are computed with the code and the attributes of the first one.

Attributes are described by what ``pickle`` writes of them, so that no ``==`` of a user's class is called and a
description does not change when the value does. Closures are not read: a function with one equals only itself, as does
what cannot be pickled, such as a lock. Members that each have their own are trained one by one.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PLAIN = (type(None), bool, int, float, str)
_OF_A_FUNCTION = ("__closure__", "__defaults__", "__kwdefaults__", "__dict__")
_OF_TORCH = frozenset(vars(nn.Module())) - {"training"}


@dataclass(slots=True)
class Description:
    """What a value holds, for comparison with another one."""

    content: object
    objects: list[Any] = field(compare=False)
    """Objects whose identity is part of the content: while they are held, no other object can get their id."""


def attributes(module: nn.Module) -> dict[str, Description]:
    """Describe the attributes and hooks of a module and its parts, by dotted name, for :func:`difference`."""
    return _described(module)[0]


def described(values: Mapping[str, Any]) -> dict[str, Description]:
    """Describe some values, for :func:`difference`."""
    return {name: _Describer({}, {}).describe(value) for name, value in values.items()}


def difference(a: Mapping[str, Description], b: Mapping[str, Description]) -> str | None:
    """Return the first name whose descriptions differ, if there is one."""
    return next((name for name in {**a, **b} if name not in a or name not in b or a[name] != b[name]), None)


def attribute_holding_tensor(module: nn.Module) -> str | None:
    """Return the name of an attribute that holds, or may hold, a parameter or buffer of the module, if there is one.

    Such an attribute goes on holding it where the module computes with other tensors under its names. A function may
    hold one in its closure, and so may what cannot be pickled.
    """
    return _described(module)[1]


def _described(module: nn.Module) -> tuple[dict[str, Description], str | None]:
    parts = {id(part): name for name, part in module.named_modules()}
    tensors = {_memory(t): name for name, t in (*module.named_parameters(), *module.named_buffers())}
    tensors.pop(0, None)
    descriptions: dict[str, Description] = {}
    holding = None
    for prefix, part in module.named_modules():
        descriptions[f"{prefix}.__class__"] = Description(id(type(part)), [type(part)])
        for name, value in vars(part).items():
            if name in _OF_TORCH and not (name in _HOOKS and value):
                continue
            dotted = f"{prefix}.{name}".lstrip(".")
            if type(value) in _PLAIN:  # as most are; there is no need to pickle them
                descriptions[dotted] = Description((type(value), repr(value)), [])
                continue
            describer = _Describer(parts, tensors)
            # The keys of hooks are numbers that torch counts on from one module to the next.
            descriptions[dotted] = describer.describe([*value.values()] if name in _HOOKS else value)
            if holding is None and describer.may_hold_tensor:
                holding = dotted
    return descriptions, holding


class _Describer(pickle.Pickler):
    """Writes a value, with the parts and tensors of a module by name, and functions and classes by identity."""

    def __init__(self, parts: Mapping[int, str], tensors: Mapping[int, str]):
        self.buffer = io.BytesIO()
        super().__init__(self.buffer, 4)
        self.fast = True  # equal values that are one object here and two there are the same
        self.parts, self.tensors = parts, tensors
        self.objects: list[Any] = []
        self.may_hold_tensor = False

    def describe(self, value: Any) -> Description:
        try:
            self.dump(value)
        except Exception:  # whatever the value's class raises; also a RecursionError, where it holds itself
            self.may_hold_tensor = True
            return Description(id(value), [value])
        return Description(blake2b(self.buffer.getvalue()).digest(), self.objects)

    def persistent_id(self, value: Any) -> Any:
        if id(value) in self.parts:
            return "part", self.parts[id(value)]
        if isinstance(value, Tensor):
            if (name := self.tensors.get(_memory(value))) is not None:
                self.may_hold_tensor = True
                return "tensor", name
            return self._numbers(value)
        of_module = isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, (ModuleType, type(None)))
        if isinstance(value, (type, ModuleType, FunctionType)) or type(value) is object or of_module:
            if isinstance(value, FunctionType) and not _is_global(value):
                if any(getattr(value, name) for name in _OF_A_FUNCTION):
                    self.may_hold_tensor = True
                else:
                    value = value.__code__  # which all functions share that one ``def`` or ``lambda`` has made
            self.objects.append(value)
            return "object", id(value)
        return None

    def _numbers(self, value: Tensor) -> Any:
        plain = value.detach().cpu().contiguous()
        numbers = np.asarray(plain.reshape(-1).view(torch.uint8)).tobytes()
        return str(type(value)), tuple(value.shape), str(value.dtype), str(value.device), value.requires_grad, numbers


def _is_global(function: FunctionType) -> bool:
    """Return whether a function stands in a module under its name, as ``torch.nn.functional.relu`` does."""
    return getattr(sys.modules.get(function.__module__), function.__qualname__, None) is function


def _memory(tensor: Tensor) -> int:
    """Return where the memory of a tensor starts; 0 where it has none."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, ValueError, NotImplementedError):  # such as a lazy one
        return 0
