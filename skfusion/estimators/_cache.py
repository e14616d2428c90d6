"""Keys for pools that are kept between fits."""

from __future__ import annotations

from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import joblib
import numpy as np
from scipy.stats import rv_continuous, rv_discrete
from torch import Tensor, nn

from skfusion.rows import Rows


def fingerprint(*things: Any) -> str:
    """Return a hash that depends on values only: of arrays, of parameters, and of the weights of modules.

    ``joblib.hash`` alone gives two equal modules two hashes, as tensors pickle with their storage.
    """
    return joblib.hash(_plain(things))


def _plain(thing: Any, around: tuple[int, ...] = ()) -> Any:
    """Return what a thing is in lists, names, numbers and arrays; ``around`` are the ids of what it is a part of."""
    if id(thing) in around:
        return "a thing that it is a part of"

    def inner(part: Any) -> Any:
        return _plain(part, (*around, id(thing)))

    if isinstance(thing, nn.Module):
        kinds = {_name(part): type(part) for part in thing.modules()}
        return repr(thing), inner(kinds), inner(dict(thing.state_dict()))
    if isinstance(thing, Tensor):
        return str(thing.dtype), thing.detach().cpu().float().numpy()
    if isinstance(thing, Rows):
        return inner([thing.X, thing.y, thing.weight])
    if isinstance(thing, dict):
        return [(k, inner(v)) for k, v in sorted(thing.items(), key=lambda item: str(item[0]))]
    if isinstance(thing, (list, tuple)):
        return [inner(v) for v in thing]
    if isinstance(thing, type):
        own = [f for cls in thing.__mro__ for f in vars(cls).values() if isinstance(f, FunctionType)]
        return thing.__module__, thing.__qualname__, [_code(f.__code__) for f in own]
    if isinstance(thing, FunctionType):
        values = [cell.cell_contents for cell in thing.__closure__ or ()]
        return thing.__module__, thing.__qualname__, _code(thing.__code__), inner([values, thing.__defaults__])
    if isinstance(thing, MethodType):
        return inner([thing.__self__, thing.__func__])
    if isinstance(thing, partial):
        return inner([thing.func, thing.args, thing.keywords])
    if isinstance(thing, (set, frozenset)):
        return sorted(repr(inner(v)) for v in thing)
    if isinstance(thing, BuiltinFunctionType):
        return str(thing.__module__), thing.__qualname__
    if isinstance(getattr(thing, "module_", None), nn.Module):  # a fitted net is known by its weights
        return _name(thing), inner(thing.module_)
    if isinstance(getattr(thing, "dist", None), (rv_continuous, rv_discrete)):  # a distribution to draw from
        return _name(thing.dist), inner([thing.args, thing.kwds])
    if hasattr(thing, "get_params"):
        params = thing.get_params(deep=False)
        return _name(thing), inner({k: v for k, v in params.items() if not k.startswith("_") and k != "n_jobs"})
    if isinstance(thing, (str, bytes, int, float, bool, type(None), np.ndarray, np.generic)):
        return thing
    return _name(thing), inner(vars(thing)) if hasattr(thing, "__dict__") else repr(thing)


def _code(code: CodeType) -> Any:
    """Return what a function does, so that an edited one is another one."""
    return code.co_code, code.co_names, [_constant(c) for c in code.co_consts]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)  # its order is that of the process


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
