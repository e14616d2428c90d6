"""What code of the user's does, to where it ends in an installed package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dis import get_instructions
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

_LIBRARIES = {"skfusion", "sklearn", "torch", *sys.stdlib_module_names}  # wherever their files are


def parts_of_class(cls: type) -> tuple[Any, ...]:
    """Return the code of an installed class and the version of its package, or the bases and attributes of another."""
    name = cls.__module__, cls.__qualname__
    if is_installed(cls.__module__):
        functions = [f for base in cls.__mro__ for f in vars(base).values() if isinstance(f, FunctionType)]
        return name, release(cls.__module__), [f.__code__ for f in functions]
    methods = FunctionType, staticmethod, classmethod
    kept = {k: v for k, v in vars(cls).items() if isinstance(v, methods) or not k.startswith("__")}
    kept.pop("_abc_impl", None)
    return name, type(cls), cls.__bases__, kept


def parts_of_function(function: FunctionType) -> tuple[Any, ...]:
    """Return the code of a function, its defaults, what it closes over, and, if it is the user's, what it reads."""
    held = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]  # which is an empty one
    given = held, function.__defaults__, function.__kwdefaults__
    return function.__module__, function.__qualname__, function.__code__, given, _read_by(function)


def _read_by(function: FunctionType) -> list[tuple[str, Any]]:
    """Return the globals that a function of the user's reads, and what it may read of the user's modules among them."""
    scope = function.__globals__
    if is_installed(scope.get("__name__")):  # where it was written, whatever a decorator has made it say
        return []
    codes = [*_codes(function.__code__)]
    read = {i.argval for code in codes for i in get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    names = {name for code in codes for name in code.co_names}
    values, seen = {name: scope[name] for name in read if name in scope} | vars(function), set()
    while opened := [n for n, m in values.items() if isinstance(m, ModuleType) and not is_installed(m.__name__)]:
        module = values.pop(opened[0])
        new = {} if module in seen else {f"{opened[0]}.{k}": v for k, v in vars(module).items() if k in names}
        values, seen = values | new, {*seen, module}
    return sorted(values.items(), key=lambda item: item[0])


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Iterate over the code of a function and of those within it."""
    yield code
    for inner in code.co_consts:
        yield from _codes(inner) if isinstance(inner, CodeType) else ()


def is_installed(module: Any) -> bool:
    """Return whether a module, by its name, is of a package that is installed and not of the user's own code."""
    name = str(module)
    file = Path(getattr(sys.modules.get(name), "__file__", None) or "")
    installed = {"site-packages", "dist-packages"} & {*file.parts}
    return name != "__main__" and (name.partition(".")[0] in _LIBRARIES or bool(installed))


def release(module: str) -> str:
    return str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))
