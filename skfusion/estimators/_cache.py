"""Keys for pools that are kept between fits."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from copyreg import dispatch_table
from dis import get_instructions
from functools import partial
from logging import Logger
from operator import methodcaller
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import joblib
import numpy as np
from scipy.stats import rv_continuous, rv_discrete
from torch import Tensor, nn

from skfusion.rows import Rows

_VALUES = (str, bytes, int, float, bool, type(None), np.ndarray, np.generic)
_LIBRARIES = {"skfusion", "sklearn", "torch", *sys.stdlib_module_names}  # wherever their files are
_OF_EVERY_MODULE = vars(nn.Module()).keys()


def fingerprint(*things: Any) -> str:
    """Return a hash that depends on values only: of arrays, of parameters, of weights, and of what functions do.

    ``joblib.hash`` alone gives two equal modules two hashes, as tensors pickle with their storage.

    A function is its code, its defaults, what it closes over and the globals that it reads, a class its methods, other
    attributes and bases; so the user's own code is followed to where it ends. A module of the user's is what is read
    of it. Functions and classes of installed packages are known by name and code, modules by name and version.
    """
    return joblib.hash(_plain(things, {}))


def _plain(thing: Any, known: dict[int, Any], around: tuple[int, ...] = ()) -> Any:
    """Return a value as it is, and the hash of any other thing.

    ``known`` has hashes by the id of the thing, and the thing, so that no other gets its id; ``around`` are the ids of
    what the thing is a part of.
    """
    if isinstance(thing, _VALUES):
        return thing
    if id(thing) in around:
        return "a thing that it is a part of"
    if id(thing) not in known:
        known[id(thing)] = thing, joblib.hash(_parts(thing, lambda part: _plain(part, known, (*around, id(thing)))))
    return known[id(thing)][1]


def _parts(thing: Any, inner: Callable[[Any], Any]) -> Any:
    """Return what a thing is in lists, names, values and the hashes of its parts, which ``inner`` returns."""

    def kind() -> Any:
        return _name(thing) if _is_installed(type(thing).__module__) else inner(type(thing))

    def guarded(values: dict[str, Any]) -> Any:  # these were not meant to be hashed, and can be anything
        return [(name, _or_shown(inner, values[name])) for name in sorted(values)]

    if isinstance(thing, nn.Module):
        kinds = {_name(part): type(part) for part in thing.modules()}
        own = [{k: v for k, v in vars(part).items() if k not in _OF_EVERY_MODULE} for part in thing.modules()]
        return repr(thing), inner(kinds), inner(dict(thing.state_dict())), [guarded(values) for values in own]
    if isinstance(thing, Tensor):
        return str(thing.dtype), thing.detach().cpu().float().numpy()
    if isinstance(thing, Rows):
        return inner([thing.X, thing.y, thing.weight])
    if isinstance(thing, dict):
        return [(k, inner(v)) for k, v in sorted(thing.items(), key=lambda item: str(item[0]))]
    if isinstance(thing, (list, tuple)):
        return [inner(v) for v in thing]
    if isinstance(thing, type):
        name = thing.__module__, thing.__qualname__
        if _is_installed(thing.__module__):
            functions = [f for cls in thing.__mro__ for f in vars(cls).values() if isinstance(f, FunctionType)]
            return name, [_code(f.__code__) for f in functions]
        methods = FunctionType, staticmethod, classmethod
        own_parts = {k: v for k, v in vars(thing).items() if isinstance(v, methods) or not k.startswith("__")}
        return name, inner(thing.__bases__), guarded(own_parts)
    if isinstance(thing, FunctionType):
        held = [cell.cell_contents for cell in thing.__closure__ or () if cell != CellType()]  # which is an empty one
        given = inner([held, thing.__defaults__, thing.__kwdefaults__])
        return thing.__module__, thing.__qualname__, _code(thing.__code__), given, guarded(_globals_of(thing))
    if isinstance(thing, MethodType):
        return inner([thing.__self__, thing.__func__])
    if isinstance(thing, (staticmethod, classmethod)):
        return _name(thing), inner(thing.__func__)
    if isinstance(thing, property):
        return inner([thing.fget, thing.fset])
    if isinstance(thing, partial):
        return inner([thing.func, thing.args, thing.keywords])
    if isinstance(thing, (set, frozenset)):
        return sorted(repr(inner(v)) for v in thing)
    if isinstance(thing, BuiltinFunctionType):
        return str(thing.__module__), thing.__qualname__
    if isinstance(thing, ModuleType):
        return thing.__name__, str(getattr(thing, "__version__", ""))
    if isinstance(thing, Logger):  # which holds all others
        return _name(thing), thing.name
    if isinstance(getattr(thing, "module_", None), nn.Module):  # a fitted net is known by its weights
        return kind(), inner(thing.module_)
    if isinstance(getattr(thing, "dist", None), (rv_continuous, rv_discrete)):  # a distribution to draw from
        return _name(thing.dist), inner([thing.args, thing.kwds])
    if hasattr(thing, "get_params"):
        params = thing.get_params(deep=False)
        return kind(), inner({k: v for k, v in params.items() if not k.startswith("_") and k != "n_jobs"})
    if hasattr(thing, "__dict__"):
        return kind(), inner(vars(thing))
    reduced = dispatch_table.get(type(thing), methodcaller("__reduce_ex__", 3))  # what it would be pickled as
    return _or_shown(lambda other: inner(reduced(other)), thing)


def _globals_of(function: FunctionType) -> dict[str, Any]:
    """Return the globals that a function of the user's reads, and what it may read of the user's modules among them."""
    scope = function.__globals__
    if _is_installed(scope.get("__name__")):  # where it was written, whatever a decorator has made it say
        return {}
    codes = [*_codes(function.__code__)]
    read = {i.argval for code in codes for i in get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    found = {name: scope[name] for name in read if name in scope}
    modules = [m for m in found.values() if isinstance(m, ModuleType) and not _is_installed(m.__name__)]
    names = {name for code in codes for name in code.co_names}
    return found | {f"{m.__name__}.{k}": v for m in modules for k, v in vars(m).items() if k in names}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Iterate over the code of a function and of those within it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _code(code: CodeType) -> Any:
    """Return what a function does, so that an edited one is another one."""
    return code.co_code, [*code.co_names], [_constant(c) for c in code.co_consts]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)  # its order is that of the process


def _is_installed(module: Any) -> bool:
    """Return whether a module, by its name, is of a package that is installed and not of the user's own code."""
    name = str(module)
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    installed = re.search(r"[\\/](site|dist)-packages[\\/]", file)
    return name != "__main__" and (name.partition(".")[0] in _LIBRARIES or installed is not None)


def _or_shown(hashed: Callable[[Any], Any], thing: Any) -> Any:
    """Return the hash of a thing, or what it prints where it has none, which must not have its address."""
    try:
        return joblib.hash(hashed(thing))
    except Exception:
        pass
    try:
        return _name(thing), re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))
    except Exception:
        return _name(thing)


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
