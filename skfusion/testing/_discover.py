"""Find the components of the package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import skfusion
from skfusion._component import Component

_SKIPPED = ("skfusion.cli", "skfusion.testing")


def discover(base: type[Component] | None = None) -> list[type[Component]]:
    """Return the public concrete components of the package.

    Modules whose optional dependencies are not installed are left out.

    Parameters
    ----------
    base : type, optional
        Only subclasses of this family base; all components when omitted.

    Returns
    -------
    list of type
        Classes in the order of their modules and names.

    Examples
    --------
    >>> from skfusion.merge import Merger
    >>> from skfusion.testing import discover
    >>> "Uniform" in [cls.__name__ for cls in discover(Merger)]
    True
    """
    base = Component if base is None else base
    by_name = {
        (cls.__module__, cls.__name__): cls
        for module in modules()
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, base) and cls.__module__.startswith("skfusion.")
    }
    concrete = (cls for _, cls in sorted(by_name.items()) if not inspect.isabstract(cls) and cls is not Component)
    return [cls for cls in concrete if not cls.__name__.startswith("_")]


def modules() -> Iterator[ModuleType]:
    """Yield the modules of the package whose dependencies are installed, but those of the command line and the laws."""
    for info in pkgutil.walk_packages(skfusion.__path__, "skfusion.", onerror=lambda name: None):
        if info.name.startswith(_SKIPPED):
            continue
        try:
            yield importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in ("", "skfusion"):
                raise  # a mistake of ours, not an optional dependency
