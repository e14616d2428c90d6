"""What modules are beside their tensors: a stack computes all members with the code and the attributes of one.

Values are not compared but described, by nested tuples of plain values: no ``==`` of a user is called, what refers to
itself has an end, and a description does not change with what it describes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType

import numpy as np
import torch
from torch import Tensor, nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OF_TORCH = frozenset(vars(nn.Module())) - {"training"}
_PLAIN = (type(None), bool, int, str, bytes, torch.dtype, torch.device)


def attributes(module: nn.Module) -> dict[str, Any]:
    """Describe what a module and its parts have that is no parameter, buffer or module: attributes and hooks.

    Parameters
    ----------
    module : nn.Module
        Any.

    Returns
    -------
    dict
        Descriptions by dotted name, for :func:`difference`.
    """
    return _of_module(module, _Reader(module))


def described(values: Mapping[str, Any]) -> dict[str, Any]:
    """Describe some values.

    Parameters
    ----------
    values : dict
        Any.

    Returns
    -------
    dict
        Their descriptions by the same names, for :func:`difference`.
    """
    reader = _Reader()
    return {name: reader.read(value) for name, value in values.items()}


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """Return the name of a description that differs, if there is one.

    Parameters
    ----------
    a, b : dict
        See :func:`attributes` and :func:`described`.

    Returns
    -------
    str or None
        The first name.
    """
    for name in (*a, *(n for n in b if n not in a)):
        if name not in a or name not in b or a[name] != b[name]:
            return name
    return None


def reaching(module: nn.Module) -> str | None:
    """Return the name of an attribute that holds a parameter or buffer of the module, if there is one.

    Such an attribute goes on holding it where the module computes with other tensors under its names.

    Parameters
    ----------
    module : nn.Module
        Any.

    Returns
    -------
    str or None
        The first name.
    """
    reader = _Reader(module)
    _of_module(module, reader)
    return reader.reaching


def _of_module(module: nn.Module, reader: _Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for prefix, part in module.named_modules():
        found[f"{prefix}.__class__"] = _Is(type(part))
        for name, value in vars(part).items():
            dotted = f"{prefix}.{name}".lstrip(".")
            if name in _HOOKS and value:
                found[dotted] = reader.read([*value.values()], dotted)  # their keys are numbers that count on
            elif name not in _OF_TORCH:
                found[dotted] = reader.read(value, dotted)
    return found


class _Is:
    """Describes a value that is like itself only."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Is) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class _Reader:
    """Describes values, each object once; the parts and tensors of a module by their names."""

    def __init__(self, module: nn.Module | None = None):
        self.reaching: str | None = None
        self._name = ""
        self._seen: dict[int, tuple[Any, Any]] = {}  # with the objects, whose ids would be given away else
        self._own: dict[int, str] = {}
        if module is not None:
            self._seen = {id(part): (f"part {name}", part) for name, part in module.named_modules()}
            tensors = [*module.named_parameters(), *module.named_buffers()]
            self._own = {_memory(t): name for name, t in tensors if _memory(t)}

    def read(self, value: Any, name: str = "") -> Any:
        """Describe a value; what is nested too deeply is like nothing."""
        self._name = name
        try:
            return self._read(value)
        except RecursionError:
            return _Is(object())

    def _read(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return kind, value
        if kind in (float, complex):
            return kind, repr(value)  # NaN is itself
        if kind in (tuple, torch.Size):
            return kind, *map(self._read, value)
        if isinstance(value, (type, ModuleType, CodeType)) or kind is object:
            return _Is(value)
        if id(value) in self._seen:
            return "again", self._seen[id(value)][0]
        self._seen[id(value)] = len(self._seen), value
        if isinstance(value, Tensor):
            return self._of_tensor(value)
        if kind is np.ndarray:
            return kind, value.dtype.str, value.shape, self._of_array(value)
        if kind is list:
            return kind, *map(self._read, value)
        if kind is dict:
            return kind, *((self._read(k), self._read(v)) for k, v in value.items())
        if kind in (set, frozenset):
            return kind, *sorted(map(self._read, value), key=repr)
        if kind is CellType:
            return kind, *map(self._read, _content(value))
        if kind is FunctionType:
            inner = value.__closure__, value.__defaults__, value.__kwdefaults__, vars(value)
            return kind, _Is(value.__code__), *map(self._read, inner)
        if kind is MethodType:
            return kind, self._read(value.__func__), self._read(value.__self__)
        if kind is ReferenceType:
            return kind, self._read(value())
        if kind is BuiltinFunctionType and isinstance(value.__self__, (ModuleType, type(None))):
            return _Is(value)
        return self._of_object(value)

    def _of_object(self, value: Any) -> Any:
        """Describe an object by what a pickle would hold of it, which leaves out what it only keeps at hand."""
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # such as a lock or a generator
            return _Is(value), self._read(getattr(value, "__dict__", None))
        if isinstance(reduced, str):  # the name of something global
            return _Is(value)
        return _Is(type(value)), *(self._read([*part] if isinstance(part, Iterator) else part) for part in reduced)

    def _of_tensor(self, value: Tensor) -> Any:
        if (own := self._own.get(_memory(value))) is not None:
            self.reaching = self.reaching or self._name
            return "own", own
        try:
            numbers = _digest(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        except Exception:  # sparse, quantised, or on no device
            return _Is(value)
        return _Is(type(value)), tuple(value.shape), value.dtype, value.device, value.requires_grad, numbers

    def _of_array(self, value: np.ndarray[Any, Any]) -> Any:
        if value.dtype.hasobject:
            return self._read(value.tolist())
        return _digest(np.ascontiguousarray(value).reshape(-1).view(np.uint8))


def _digest(numbers: np.ndarray[Any, Any]) -> bytes:
    return blake2b(numbers.data, digest_size=16).digest()


def _memory(tensor: Tensor) -> int:
    """Return where the memory of a tensor starts; 0 where it has none."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, ValueError, NotImplementedError):  # such as a lazy one
        return 0


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # it is empty yet
        return []
