"""The parameter protocol that every method object shares, without scikit-learn."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor

EXAMPLES = {
    "estimator": "mlp_classifier() or mlp_regressor()",
    "collect": "Seeds(5)",
    "average": "EMA(0.999)",
    "select": "TopK(3)",
    "align": "WeightMatching()",
    "merge": "Greedy()",
    "connect": "Bezier()",
    "repair": "Recalibrate()",
    "combine": "Average()",
    "final_estimator": "LogisticRegression()",
    "scan": "MultiGrainedScan()",
    "teacher": "EnsembleClassifier()",
}
"""What a parameter of such a name may be, for messages."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_LONGEST = 80
"""Characters that are shown of a parameter of a net."""


class Component:
    """A small callable whose ``__init__`` arguments are its tunable parameters.

    ``__init__`` stores them under their names and does nothing else; where there are many, a dataclass writes it, by
    ``@dataclass(eq=False, repr=False)``. The class duck-types the part of scikit-learn's estimator protocol that
    ``clone``, ``GridSearchCV`` and nested ``set_params`` need, so that methods import torch and nothing else.
    """

    needs_objective: ClassVar[bool] = False
    """Whether the method asks for data (a held-out score, a loss, or inputs)."""
    needs_labels: ClassVar[bool] = False
    """Whether that data must be labelled and not seen by the members in training."""
    _test_sets: ClassVar[Sequence[dict[str, Any]]] = ({},)
    """What the common checks build this component with; a component whose sets hold objects has ``_test_params``."""

    @classmethod
    def _param_names(cls) -> list[str]:
        return [] if cls.__init__ is object.__init__ else [*inspect.signature(cls).parameters]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Also return the parameters of parameters, as ``name__inner``.

        Returns
        -------
        dict
            Parameter names mapped to their values.
        """
        params: dict[str, Any] = {}
        for name in self._param_names():
            value = params[name] = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                params.update({f"{name}__{key}": inner for key, inner in value.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, ``name__inner`` those of a parameter; see :meth:`Component.get_params`.

        It returns this object.
        """
        names = self._param_names()
        if unknown := [head for head in (name.partition("__")[0] for name in params) if head not in names]:
            raise ValueError(f"{type(self).__name__} has no parameter {unknown[0]!r}; it has {names}.")
        for name in sorted(params, key=lambda name: "__" in name):  # parts before what is in them
            head, _, tail = name.partition("__")
            if tail:
                check_part(self, name, getattr(self, head))
                getattr(self, head).set_params(**{tail: params[name]})
            else:
                setattr(self, head, params[name])
        return self

    def __repr__(self) -> str:
        defaults = {n: p.default for n, p in inspect.signature(type(self)).parameters.items()}
        shown = {n: _shown(getattr(self, n)) for n in self._param_names()}
        return f"{type(self).__name__}({', '.join(f'{n}={v}' for n, v in shown.items() if v != _shown(defaults[n]))})"

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        """Yield the keyword sets with which the common checks build this component."""
        yield from cls._test_sets

    def _test_skips(self) -> dict[str, str]:
        """Map the name of a common check to the reason why this component cannot meet it."""
        return {}


def is_net_like(value: Any) -> bool:
    """Return whether something looks like a skorch net, which only the layer of nets may import."""
    return hasattr(value, "get_params_for") and hasattr(value, "module") and not isinstance(value, type)


def net_params(net: Any, changed_only: bool = True) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters of a net as texts, without internal ones, and the defaults of its class."""
    defaults: dict[str, Any] = {}
    for cls in reversed(type(net).__mro__):
        if "__init__" in vars(cls) and cls is not object:
            defaults |= {name: p.default for name, p in inspect.signature(vars(cls)["__init__"]).parameters.items()}
    usual = {name: _of_net(value) for name, value in defaults.items() if value is not inspect.Parameter.empty}
    given = [name for name in vars(net) if not name.startswith(("_", "callbacks__")) and not name.endswith("_")]
    shown = {name: _of_net(vars(net)[name]) for name in sorted(given)}
    return {name: text for name, text in shown.items() if not changed_only or text != usual.get(name)}, usual


def _of_net(value: Any) -> str:
    """Return a short text for a parameter of a net, the same in each run."""
    if isinstance(value, type) or inspect.isroutine(value):
        return str(value.__name__)
    if type(value) in (set, frozenset):
        return "{" + ", ".join(sorted(map(_of_net, value))) + "}"
    text = _ADDRESS.sub("", repr(value))
    return text if "\n" not in text and len(text) <= _LONGEST else f"{type(value).__name__}(...)"


def check_part(owner: Any, name: str, part: Any) -> None:
    """Raise where a parameter, as ``part__inner``, is set of a part that has none, as it was left out."""
    if hasattr(part, "set_params") and not isinstance(part, type):
        return
    head = name.partition("__")[0]
    example = f"{part.__name__}()" if isinstance(part, type) else EXAMPLES.get(head)
    raise ValueError(
        f"{type(owner).__name__} cannot set {name}: {head} is {part!r}, which has no parameters. Give the part first"
        + (f", such as {head}={example}." if example else ".")
    )


def _shown(value: Any) -> str:
    """Return the representation of a parameter: of a state, how many tensors it has; of a function, its name."""
    if is_net_like(value):
        return f"{type(value).__name__}({', '.join(f'{name}={text}' for name, text in net_params(value)[0].items())})"
    if isinstance(value, dict) and value and all(isinstance(v, Tensor) for v in value.values()):
        return f"<state of {len(value)} tensors>"
    return value.__name__ if inspect.isroutine(value) else repr(value)
