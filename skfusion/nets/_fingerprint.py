"""Keys of all that a training depends on: data, nets, settings, and the user's code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from dis import get_instructions
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from importlib.metadata import version
from inspect import getsource
from pathlib import Path
from pickle import _Pickler as Pickler
from types import CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import torch
from joblib.hashing import NumpyHasher
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from skfusion._rows import Rows

_HOOKS = {name for name in vars(nn.Module()) if "_hooks" in name}
_CODE = "code consts names varnames flags argcount posonlyargcount kwonlyargcount exceptiontable"
_MADE_OF = {
    CodeType: [f"co_{name}" for name in _CODE.split()],
    MethodType: ["__func__", "__self__"],
    MemberDescriptorType: ["__name__"],
    property: ["fget", "fset", "fdel"],
    cached_property: ["func"],
    staticmethod: ["__wrapped__"],
    classmethod: ["__wrapped__"],
    type(lru_cache(repr)): ["__wrapped__"],
}


class NoKey(ValueError):
    """A thing has no key that is certain, so what was made of it cannot be recognised later."""


def fingerprint(*things: Any) -> str:
    """Return the :func:`digest` of things and of the libraries, so that what another release has made is not used."""
    return digest(_versions(), str(torch.get_default_dtype()), things)


def digest(*things: Any, known: Mapping[int, str] | None = None) -> str:
    """Return a hash of all that things are and do, the same in every process; raise NoKey where some of it is hidden.

    Tensors count bit for bit, with flags, hooks and ties; functions and classes of the user as the code that runs, with
    all that it reads. This ends at installed packages, which are known by name, version and code. ``known`` has, by
    ``id``, the hashes of large things within them, which are not hashed again.
    """
    return _Hasher(known).key(things)


class _Hasher(NumpyHasher):
    """joblib's pickler into a hash, also of things that joblib hashes by name only, or not at all."""

    def __init__(self, known: Mapping[int, str] | None = None) -> None:
        super().__init__("sha1", coerce_mmap=True)
        self.known = known or {}
        self.storages: dict[int, int] = {}
        self.failed: list[str] = []

    def key(self, thing: Any) -> str:
        try:
            hashed: str = self.hash(thing)
        except Exception as error:
            where = " of ".join(name for name in self.failed if name not in ("dict", "list", "tuple"))
            raise NoKey(f"{where or 'a nested structure'} ({type(error).__name__}: {error})") from error
        return hashed

    def save(self, obj: Any) -> None:
        try:
            parts = obj if id(obj) in self.memo else self._parts(obj)
            if parts is not obj:
                self.memoize(obj)  # before its parts, which may hold it
            super().save(parts)
        except Exception:
            self.failed += [type(obj).__qualname__] if len(self.failed) < 9 else []
            raise

    def memoize(self, obj: Any) -> None:
        if not isinstance(obj, tuple):  # equal tuples may be one in this process and two in another
            super().memoize(obj)

    def _batch_setitems(self, items: Any, *rest: Any) -> None:
        Pickler._batch_setitems(self, items, *rest)  # not sorted, as layers have an order

    def _parts(self, obj: Any) -> Any:
        """Return what is hashed in place of a thing; the thing itself where its pickle is complete."""
        if id(obj) in self.known:
            return "known", self.known[id(obj)]
        if type(obj) in _MADE_OF:
            return type(obj).__name__, [getattr(obj, name, None) for name in _MADE_OF[type(obj)]]
        if isinstance(obj, Tensor) and not is_lazy(obj) and obj.layout is torch.strided and not obj.is_quantized:
            storage = self.storages.setdefault(obj.untyped_storage().data_ptr(), len(self.storages))
            return storage, *_of_tensor(obj)
        if isinstance(obj, nn.Module):
            return [(name, type(part), _of_module(part)) for name, part in obj.named_modules(remove_duplicate=False)]
        if isinstance(obj, Rows):
            return [getattr(obj, field.name) for field in fields(obj)]
        if isinstance(obj, (set, frozenset)):
            return type(obj), sorted(digest(item) for item in obj)
        if isinstance(obj, type):
            return parts_of_class(obj)
        if isinstance(obj, FunctionType):
            return parts_of_function(obj)
        if isinstance(obj, ModuleType):
            return obj.__name__, release(obj.__name__) if is_installed(obj.__name__) else getsource(obj)
        if isinstance(obj, torch.Generator):
            return "generator", obj.get_state()
        if obj is check_random_state(None):
            return "the global generator"
        return _of_estimator(obj) if callable(getattr(obj, "get_params", None)) else obj


def _of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().flatten().view(torch.uint8).numpy()
    place = tensor.storage_offset(), tensor.stride(), tuple(tensor.shape)
    hooks = [*(tensor._backward_hooks or {}).values(), *(tensor._post_accumulate_grad_hooks or {}).values()]
    return type(tensor), str(tensor.dtype), tensor.requires_grad, place, hooks, vars(tensor), values


def _of_module(module: nn.Module) -> list[Any]:
    """Return the attributes of a module but its parts; modes only where it sets them itself: training sets others."""
    own = {k: v for k, v in vars(module).items() if k not in ("_modules", "training")}
    hooks = {k: own.pop(k) for k in _HOOKS & own.keys()}
    ids = sorted({i for held in hooks.values() for i in held})  # they count the hooks of the process
    ranked = [(k, [(ids.index(i), hook) for i, hook in held.items()]) for k, held in sorted(hooks.items())]
    return [own, ranked, type(module).train is not nn.Module.train and [part.training for part in module.modules()]]


def _of_estimator(obj: Any) -> tuple[Any, ...]:
    """Return the parameters that matter, and what was fitted, which is the weights of a net."""
    net = hasattr(obj, "initialize_module")
    fitted = {k: v for k, v in vars(obj).items() if (k == "module_" if net else k.endswith("_"))}
    params = {k: v for k, v in obj.get_params(deep=False).items() if not k.startswith("_") and k != "n_jobs"}
    return type(obj), sorted({**fitted, **params}.items())


@cache
def _versions() -> list[str]:
    """Return the versions of what trains members, and a hash of this library's files, which may have been edited."""
    package = Path(__file__).parents[1]  # all of it: members depend on nets and collectors as on estimators
    code = sha256(b"".join(file.read_bytes() for file in sorted(package.rglob("*.py"))))
    return [sys.version, code.hexdigest(), *map(version, ("torch", "skorch", "numpy", "scikit-learn", "scipy"))]


_LIBRARIES = {"skfusion", "sklearn", "torch", *sys.stdlib_module_names}  # wherever their files are


def parts_of_class(cls: type) -> tuple[Any, ...]:
    """Return the code of an installed class and the version of its package, or the bases and attributes of another."""
    name = cls.__module__, cls.__qualname__
    if is_installed(cls.__module__):
        functions = [(n, f) for base in cls.__mro__ for n, f in vars(base).items() if isinstance(f, FunctionType)]
        return name, release(cls.__module__), {_as_imported(n, f).__code__ for n, f in functions}
    methods = FunctionType, staticmethod, classmethod
    kept = {k: v for k, v in vars(cls).items() if isinstance(v, methods) or not k.startswith("__")}
    kept.pop("_abc_impl", None)
    return name, type(cls), cls.__bases__, kept


def _as_imported(name: str, function: FunctionType) -> FunctionType:
    """Return a method without what installed packages put around it later.

    Torch does so around steps of optimizers when the first one is made, and around more when a module is compiled.
    """
    while _is_of_package(function):
        held = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
        inner = [f for f in (getattr(function, "__wrapped__", None), *held) if isinstance(f, FunctionType)]
        within = [f for f in inner if f.__name__ == name]
        if not within:
            break
        function = within[0]
    return function


def _is_of_package(function: FunctionType) -> bool:
    return bool({"site-packages", "dist-packages"} & {*Path(function.__code__.co_filename).parts})


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
