"""Architectures for the command line: imported by name, built with parameters, and matched to checkpoints."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from skfusion.state import State

_WORD = re.compile(r"[A-Za-z_][\w.-]*")


@contextmanager
def _importing_from_here() -> Iterator[None]:
    """Let modules of the current directory be imported first, as Python does in a script, and only meanwhile."""
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:  # code of the user's may have changed it
            sys.path.remove(here)


def architecture(name: str, parameters: Sequence[str], offers: Mapping[str, int | None]) -> nn.Module:
    """Return the module that a name stands for; it may be in the current directory.

    Parameters
    ----------
    name : str
        ``package.module:Class``, or a function or an instance in the place of the class.
    parameters : sequence of str
        Of the form ``name=json``.
    offers : dict of int
        Sizes that the data tells, for parameters of these names that are not given.

    Returns
    -------
    nn.Module
        With the weights that it starts with.

    Raises
    ------
    ValueError
        If it cannot be imported or built; it names the part that failed.
    """
    with _importing_from_here():
        return _built(name, parameters, offers)


def parameters_of(name: str, parameters: Sequence[str], offers: Mapping[str, int | None]) -> dict[str, Any] | None:
    """Return what :func:`architecture` gives to a class or function; None where it is a network already."""
    with _importing_from_here():
        found = _imported(name)
    if isinstance(found, nn.Module):
        return None
    return _arguments(found, parameters, offers)


def _built(name: str, parameters: Sequence[str], offers: Mapping[str, int | None]) -> nn.Module:
    found = _imported(name)
    given = dict(_parameter(text) for text in parameters)
    if isinstance(found, nn.Module):
        if given:
            raise ValueError(f"--module {name} is a network that is built already; leave --param out.")
        return found
    if not callable(found):
        raise ValueError(f"--module {name} is a {type(found).__name__}, neither a class nor a function.")
    arguments = _arguments(found, parameters, offers)
    try:
        module = found(**arguments)
    except Exception as error:  # code of the user's: whatever it raises is told
        missing = [p for p in offers if p in _takes(found) and p not in arguments]
        hint = f" Give --param {missing[0]}=..., or --data, which tells it." if missing else ""
        raise ValueError(f"--module {name} cannot be built: {type(error).__name__}: {error}.{hint}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"--module {name} makes a {type(module).__name__}, and not a torch.nn.Module.")
    return module


def _takes(found: Any) -> Collection[str]:
    try:
        return inspect.signature(found).parameters
    except (TypeError, ValueError):
        return ()


def _arguments(found: Any, parameters: Sequence[str], offers: Mapping[str, int | None]) -> dict[str, Any]:
    given, takes = dict(_parameter(text) for text in parameters), _takes(found)
    return given | {key: n for key, n in offers.items() if n is not None and key in takes and key not in given}


def ran_a_module(error: BaseException) -> bool:
    """Return whether an error was raised while some network ran, so by code of the user's or its use of torch."""
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code is nn.Module._call_impl.__code__:
            return True
        place = place.tb_next
    return False


def _imported(name: str) -> Any:
    where, colon, what = name.partition(":")
    if not colon or not all(part.isidentifier() for part in [*where.split("."), *what.split(".")]):
        raise ValueError(f"--module must be package.module:Class, such as my_nets:Net; got {name!r}.")
    parts = where.split(".")
    for n in range(1, len(parts) + 1):
        part = ".".join(parts[:n])
        try:
            found = importlib.import_module(part)
        except ModuleNotFoundError as error:
            if error.name == part:
                raise ValueError(
                    f"--module {name}: there is no module {part!r}, neither in the current directory nor installed."
                ) from error
            raise ValueError(f"--module {name}: {part!r} imports {error.name!r}, which is not installed.") from error
        except Exception as error:  # code of the user's
            raise ValueError(f"--module {name}: importing {part!r} failed: {type(error).__name__}: {error}.") from error
    for part in what.split("."):
        if not hasattr(found, part):
            known = [k for k, v in vars(found).items() if inspect.isclass(v) and issubclass(v, nn.Module)]
            hint = f" It has the networks {', '.join(known)}." if known else ""
            raise ValueError(f"--module {name}: {where!r} has no {part!r}.{hint}")
        found = getattr(found, part)
    return found


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--param must be name=value, such as hidden=64 or sizes=[64,64]; got {text!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        if _WORD.fullmatch(value):
            return name, value
        raise ValueError(f"--param {name} is no JSON: {error}. Numbers, true, null, [1, 2] and words are.") from error


def fitted(state: State, module: nn.Module, name: str, notes: list[str]) -> State:
    """Return a state as a module takes it: without a prefix that all names share, and in its dtypes.

    Parameters
    ----------
    state : State
        Of a checkpoint.
    module : nn.Module
        The architecture.
    name : str
        What to call the checkpoint.
    notes : list of str
        What was changed is added to them.

    Returns
    -------
    State
        With the names, shapes and dtypes of the module.

    Raises
    ------
    ValueError
        If a tensor is missing, unknown or of another shape; it names the tensor and both shapes.
    """
    own = module.state_dict()
    state = _stripped(state, own, name, notes)
    for key in [*own, *(k for k in state if k not in own)]:
        if key in own and nn.parameter.is_lazy(own[key]) and key in state:
            continue
        sizes = [str(tuple(s[key].shape)) if key in s else "missing" for s in (state, own)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"Tensor {key!r} is {sizes[0]} in {name} and {sizes[1]} in the module. All checkpoints must be of the "
                "architecture that --module and --param give; networks of unlike architectures cannot be averaged."
            )
    if changed := [k for k in state if _dtype(own[k]) not in (None, state[k].dtype)]:
        notes.append(f"{name}: {len(changed)} tensors are converted to {_dtype(own[changed[0]])}, as in the module.")
    return {k: t if _dtype(own[k]) is None else t.to(_dtype(own[k])) for k, t in state.items()}


def _stripped(state: State, own: State, name: str, notes: list[str]) -> State:
    found, prefix = state, ""
    while found and not found.keys() & own.keys():
        firsts = {key.partition(".")[0] for key in found}
        if len(firsts) > 1 or any("." not in key for key in found):
            return state
        prefix += f"{firsts.pop()}."
        found = {key.partition(".")[2]: t for key, t in found.items()}
    if prefix:
        notes.append(f"{name}: the prefix {prefix} is taken off.")
    return found


def _dtype(tensor: torch.Tensor) -> torch.dtype | None:
    return None if nn.parameter.is_lazy(tensor) else tensor.dtype
