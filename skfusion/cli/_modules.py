"""Architectures for the command line: imported by name, built with parameters, and matched to checkpoints."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from skfusion.state import State, misfit

_WORD = re.compile(r"[A-Za-z_][\w.-]*")


@contextmanager
def _importing_from_here() -> Iterator[None]:
    """Let modules of the current directory be imported first, as Python does in a script, and only while this lasts."""
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:  # code of the user may have changed it
            sys.path.remove(here)


def architecture(
    name: str, parameters: Sequence[str], sizes: Mapping[str, int | None]
) -> tuple[nn.Module, dict[str, Any] | None]:
    """Return the module that ``package.module:Class`` stands for, and the arguments that made it, if any did.

    A function or an instance may stand in the place of the class. ``parameters`` are of the form ``name=json``;
    ``sizes`` of the data are used for parameters of these names that are not given. Raises ``ValueError`` that names
    the part that cannot be imported or built.
    """
    with _importing_from_here():
        target = _imported(name)
        values = dict(_parameter(text) for text in parameters)
        if isinstance(target, nn.Module):
            if values:
                raise ValueError(f"--module {name} is a network that is built already; leave --param out.")
            return target, None
        if not callable(target):
            raise ValueError(f"--module {name} is a {type(target).__name__}, neither a class nor a function.")
        takes = _parameters_of(target)
        arguments = values | {k: n for k, n in sizes.items() if n is not None and k in takes and k not in values}
        try:
            module = target(**arguments)
        except Exception as error:  # raised by code of the user
            missing = [p for p in sizes if p in takes and p not in arguments]
            hint = f" Give --param {missing[0]}=..., or --data, which determines it." if missing else ""
            raise ValueError(f"--module {name} cannot be built: {type(error).__name__}: {error}.{hint}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"--module {name} makes a {type(module).__name__}, and not a torch.nn.Module.")
    return module, arguments


def _parameters_of(target: Any) -> Collection[str]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return ()


def ran_a_module(error: BaseException) -> bool:
    """Return whether an error was raised while some network ran, so by code of the user or its use of torch."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is nn.Module._call_impl.__code__ for frame, _ in frames)


def _imported(name: str) -> Any:
    where, colon, what = name.partition(":")
    if not colon or not all(part.isidentifier() for part in [*where.split("."), *what.split(".")]):
        raise ValueError(f"--module must be package.module:Class, such as my_nets:Net; got {name!r}.")
    try:
        target = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if f"{where}.".startswith(f"{error.name}."):
            raise ValueError(
                f"--module {name}: there is no module {error.name!r}, neither in the current directory nor installed."
            ) from error
        raise ValueError(f"--module {name}: {where!r} imports {error.name!r}, which is not installed.") from error
    except Exception as error:  # raised by code of the user
        raise ValueError(f"--module {name}: importing {where!r} failed: {type(error).__name__}: {error}.") from error
    for part in what.split("."):
        if not hasattr(target, part):
            known = [k for k, v in vars(target).items() if inspect.isclass(v) and issubclass(v, nn.Module)]
            hint = f" It has the networks {', '.join(known)}." if known else ""
            raise ValueError(f"--module {name}: {where!r} has no {part!r}.{hint}")
        target = getattr(target, part)
    return target


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

    Changes are noted under the checkpoint's ``name``. Raises ``ValueError`` that names the tensor and both shapes where
    one is missing, unknown or of another shape.
    """
    expected = module.state_dict()
    state = _stripped(state, expected, name, notes)
    if (wrong := misfit(state, module)) is not None:
        raise ValueError(
            f"Tensor {wrong[0]!r} is {wrong[1]} in {name} and {wrong[2]} in the module. All checkpoints must be of the "
            "architecture that --module and --param give; networks of different architectures cannot be averaged."
        )
    dtypes = {k: t.dtype for k, t in expected.items() if not nn.parameter.is_lazy(t)}
    if changed := [k for k, t in state.items() if dtypes.get(k, t.dtype) != t.dtype]:
        notes.append(f"{name}: {len(changed)} tensors are converted to {dtypes[changed[0]]}, as in the module.")
    return {k: t.to(dtypes.get(k, t.dtype)) for k, t in state.items()}


def _stripped(state: State, expected: State, name: str, notes: list[str]) -> State:
    stripped, prefix = state, ""
    while stripped and not stripped.keys() & expected.keys():
        firsts = {key.partition(".")[0] for key in stripped}
        if len(firsts) > 1 or any("." not in key for key in stripped):
            return state
        prefix += f"{firsts.pop()}."
        stripped = {key.partition(".")[2]: t for key, t in stripped.items()}
    if prefix:
        notes.append(f"{name}: the prefix {prefix} is taken off.")
    return stripped
