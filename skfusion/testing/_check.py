"""Find the components of the package, and run the laws on components, stores and estimators."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import estimator_checks

import skfusion
from skfusion._component import Component
from skfusion.align import Aligner
from skfusion.average import Average
from skfusion.collect import Collector
from skfusion.combine import Combiner
from skfusion.connect import Connector
from skfusion.merge import Merger
from skfusion.pool import Store
from skfusion.repair import Repairer
from skfusion.reuse import Reuser, Search
from skfusion.select import Selector
from skfusion.testing import (
    _laws_align,
    _laws_all,
    _laws_average,
    _laws_chance,
    _laws_collect,
    _laws_combine,
    _laws_connect,
    _laws_estimator,
    _laws_merge,
    _laws_repair,
    _laws_reuse,
    _laws_search,
    _laws_select,
    _laws_states,
    _laws_store,
)

Law = Callable[[Any], None]
_SKIPPED = ("skfusion.cli", "skfusion.testing")


def laws_in(module: ModuleType) -> list[Law]:
    """Return the laws of a file, in their order: its functions whose names start with ``check_``."""
    return [f for name, f in vars(module).items() if name.startswith("check_") and f.__module__ == module.__name__]


_BY_FAMILY: dict[type, list[Law]] = {
    Component: [*laws_in(_laws_all), *laws_in(_laws_states)],
    Aligner: laws_in(_laws_align),
    Average: laws_in(_laws_average),
    Merger: laws_in(_laws_merge),
    Repairer: laws_in(_laws_repair),
    Connector: laws_in(_laws_connect),
    Selector: laws_in(_laws_select),
    Collector: [*laws_in(_laws_collect), _laws_chance.check_random_labels_give_chance_in_training],
    Combiner: laws_in(_laws_combine),
    Reuser: laws_in(_laws_reuse),
    Search: laws_in(_laws_search),
    Store: laws_in(_laws_store),
    BaseEstimator: [*laws_in(_laws_estimator), _laws_chance.check_random_labels_give_chance],
}


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


def instances(base: type[Component] | None = None) -> list[Component]:
    """Return the components of the package with the parameters that they are checked with.

    Parameters
    ----------
    base : type, optional
        Only of this family; all components when omitted.

    Returns
    -------
    list of Component
        One instance for each keyword set of each class's ``_test_params``.
    """
    return [cls(**params) for cls in discover(base) for params in cls._test_params()]


def laws(base: type | None = None) -> list[Law]:
    """Return the laws.

    Parameters
    ----------
    base : type, optional
        Only those that hold for objects of this type, such as ``Merger``, ``Store`` or ``BaseEstimator``; all when
        omitted.

    Returns
    -------
    list of callable
        Functions of one object, which raise ``AssertionError`` where it breaks the law.
    """
    families = [kind for kind in _BY_FAMILY if base is None or kind is base or issubclass(base, kind)]
    return [law for family in families for law in _BY_FAMILY[family]]


def checks_for(component: Any) -> Iterator[tuple[str, Law]]:
    """Iterate over the laws that an object must keep, for tests that are parametrised over them.

    Parameters
    ----------
    component : Component, Store or estimator
        An instance. Laws from which its ``_test_skips`` exempts it are left out.

    Yields
    ------
    name : str
        Name of the law.
    law : callable
        ``law(component)`` raises ``AssertionError`` where it is broken; a store must be empty.

    Examples
    --------
    >>> from skfusion.merge import Uniform
    >>> from skfusion.testing import checks_for
    >>> checks = dict(checks_for(Uniform()))
    >>> checks["check_merge_of_copies_is_the_copy"](Uniform())
    """
    skips = _skips(component)
    by_name = {law.__name__: law for law in laws(type(component))}
    if unknown := sorted(skips.keys() - by_name.keys()):
        raise ValueError(f"{type(component).__name__} is exempt from {unknown}, which are no laws for it.")
    yield from ((name, law) for name, law in by_name.items() if name not in skips)


def check_component(component: Any) -> None:
    """Raise ``AssertionError``, which names the law, where a component breaks one.

    Parameters
    ----------
    component : Component or type
        An instance, or a class that is checked for each keyword set of its ``_test_params``. Its ``_test_skips``
        maps the names of laws that it cannot keep to reasons; an exemption that is not needed is an error too.

    Examples
    --------
    >>> from skfusion.merge import Uniform
    >>> from skfusion.testing import check_component
    >>> check_component(Uniform(weights=None))
    """
    if isinstance(component, type):
        for params in component._test_params():
            check_component(component(**params))
        return
    if not isinstance(component, Component):
        raise TypeError(f"This checks a Component; got {type(component).__name__}. Estimators have check_estimator.")
    for name, law in checks_for(component):
        _run(name, law, component)
    for law in laws(type(component)):
        if law.__name__ not in _skips(component):
            continue
        try:
            law(component)
        except Exception:  # it may break in any way
            continue
        raise AssertionError(f"{component!r} keeps {law.__name__}: remove the exemption from _test_skips.")


def check_store(make: Callable[[], Store]) -> None:
    """Raise ``AssertionError``, which names the law, where a store breaks one.

    Parameters
    ----------
    make : callable
        ``make()`` returns a new empty store.

    Examples
    --------
    >>> from skfusion.pool import MemoryStore
    >>> from skfusion.testing import check_store
    >>> check_store(MemoryStore)
    """
    for law in laws(Store):
        _run(law.__name__, law, make())


def check_estimator(estimator: Any) -> None:
    """Raise where an estimator breaks a law, or what scikit-learn's ``check_estimator`` raises.

    Parameters
    ----------
    estimator : estimator
        An unfitted instance, with ``fit``, ``fuse`` and ``predict``.
    """
    for name, law in checks_for(estimator):
        _run(name, law, estimator)
    estimator_checks.check_estimator(estimator, on_fail="raise")


def _skips(thing: Any) -> dict[str, str]:
    if isinstance(thing, BaseEstimator):
        return _laws_estimator.exemptions(thing)
    return dict(thing._test_skips()) if isinstance(thing, Component) else {}


def _run(name: str, law: Law, thing: Any) -> None:
    try:
        law(thing)
    except AssertionError as error:
        raise AssertionError(f"{thing!r} breaks {name}: {error}") from error
