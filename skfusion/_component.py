"""The parameter protocol that every method object shares, without scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from torch import Tensor

EXAMPLES = {
    "estimator": "mlp_classifier() or mlp_regressor()",
    "collect": "Seeds(5)",
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


class Component:
    """A small callable whose ``__init__`` arguments are its tunable parameters.

    It duck-types the part of scikit-learn's estimator protocol that ``clone``, ``GridSearchCV`` and nested
    ``set_params`` need, so that methods import torch and nothing else.
    """

    needs_objective: ClassVar[bool] = False
    """Whether the method asks for data (a held-out score, a loss, or inputs)."""
    needs_labels: ClassVar[bool] = False
    """Whether that data must be labelled and not seen by the members in training."""

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
        """Set parameters by name; ``name__inner`` reaches into a parameter.

        Parameters
        ----------
        **params : dict
            New values.

        Returns
        -------
        Component
            This object.
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
        yield {}

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        """Map the name of a common check to the reason why this component cannot meet it."""
        return {}


class HasParts:
    """Tell which part is not there, where a parameter of it is set; a mixin for estimators, before their base."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ``name__inner`` reaches into a part, which must have been given.

        Parameters
        ----------
        **params : dict
            New values.

        Returns
        -------
        estimator
            This object.
        """
        own = self.get_params(deep=False)  # type: ignore[attr-defined]
        for name in params:
            head, _, tail = name.partition("__")
            if tail and head in own:
                check_part(self, name, params.get(head, own[head]))
        super().set_params(**params)  # type: ignore[misc]
        return self


def check_part(owner: Any, name: str, part: Any) -> None:
    """Raise where a parameter is set of a part that has none, as it was left out.

    Parameters
    ----------
    owner : object
        Whose part it is.
    name : str
        The parameter, as ``part__inner``.
    part : object
        The value of the part.
    """
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
    if isinstance(value, dict) and value and all(isinstance(v, Tensor) for v in value.values()):
        return f"<state of {len(value)} tensors>"
    return value.__name__ if inspect.isroutine(value) else repr(value)
