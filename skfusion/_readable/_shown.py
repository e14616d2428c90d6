"""Objects that show as others do: estimators and nets without what skorch keeps inside."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from skfusion._component import is_net_like, net_params


class Text:
    """What shows as a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def base_of(estimator: Any) -> Any:
    """Return scikit-learn's class of estimators, which is the first that says how they are printed."""
    return next(cls for cls in type(estimator).__mro__ if "__repr__" in vars(cls))


def shown(value: Any, base: Any) -> Any:
    """Return what shows as a value does, without the internals of nets in it, and without addresses of functions."""
    if type(value) in (list, tuple):
        return type(value)(shown(item, base) for item in value)
    if isinstance(value, type) or inspect.isroutine(value):
        return Text(value.__name__)
    if is_net_like(value):
        return net_shown(value, base)
    if isinstance(value, base) and type(value).__repr__ is base.__repr__:
        params = {name: shown(part, base) for name, part in value.get_params(deep=False).items()}
        return stand_in(type(value), type(value).__init__, params, base)
    return value


def net_shown(net: Any, base: Any, **members: Any) -> Any:
    """Return an object that shows as a net, by its parameters that are no internal ones."""
    given, usual = net_params(net, changed_only=False)
    return stand_in(type(net), _init_with(usual), {name: Text(text) for name, text in given.items()}, base, **members)


def stand_in(kind: type, init: Callable[..., None], params: dict[str, Any], base: Any, **members: Any) -> Any:
    """Return an object of the base, which shows parameters by ``get_params``, that shows as one of another class."""
    own = {"__init__": init, "__doc__": kind.__doc__, "get_params": lambda self, deep=False: params, **members}
    return object.__new__(type(kind.__name__, (base,), own))


def _init_with(defaults: dict[str, str]) -> Callable[..., None]:
    """Return a function that has parameters with defaults in its signature."""

    def init(self: Any, **params: Any) -> None: ...

    kind = inspect.Parameter.KEYWORD_ONLY
    names = [inspect.Parameter(name, kind, default=Text(text)) for name, text in defaults.items() if name != "self"]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    init.__signature__ = inspect.Signature([itself, *names])  # type: ignore[attr-defined]
    return init
