"""A call of an ATen operation, and the table of rules for such calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from skfusion.tracing._engine import Label
from skfusion.tracing._labels import Labels

Labelled = Label | Sequence[Label | None] | None
Function = Callable[["Call"], Labelled]
F = TypeVar("F", bound=Function)


class Call:
    """An operation that has just run, for its rule; ``call["dim"]`` is an argument by its name in the schema.

    Parameters
    ----------
    labels : Labels
        What is known about tensors.
    func : callable
        The operation.
    args, kwargs : tuple, dict
        Its arguments.

    Attributes
    ----------
    name : str
        The name of the operation; outside ATen with the namespace, such as ``"torchvision::nms"``.
    out : Tensor or tuple
        Its result.
    labels : Labels
        What is known about tensors.
    engine : Engine
        The algebra of labels.
    tensors : list of Tensor
        Arguments that are tensors, including those in lists, in order.
    strides : tuple of int
        The strides of the first of them before the operation, which may change them.
    """

    out: Any

    def __init__(self, labels: Labels, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.labels, self.engine, self.name = labels, labels.engine, name_of(func)
        self.tensors = tensors_among((args, kwargs))
        self.strides = self.tensors[0].stride() if self.tensors else ()
        self.func, self.args, self.kwargs = func, args, kwargs

    def __getitem__(self, argument: str) -> Any:
        """Return an argument by its name in the schema of the operation, or its default."""
        for i, a in enumerate(self.func._schema.arguments):
            if a.name == argument:
                return self.args[i] if i < len(self.args) else self.kwargs.get(argument, a.default_value)
        return None

    def label_of(self, argument: str | Tensor) -> Label:
        """Return the label of an argument that is a tensor.

        Parameters
        ----------
        argument : str or Tensor
            Its name in the schema of the operation, or the tensor itself.

        Returns
        -------
        list of Axis
            One for each axis.
        """
        return self.labels.of(self[argument] if isinstance(argument, str) else argument)

    @property
    def written(self) -> list[Tensor]:
        """The tensors that the operation has written to."""
        schema = self.func._schema.arguments
        written = [self[a.name] for a in schema if a.alias_info is not None and a.alias_info.is_write]
        return [t for t in written if isinstance(t, Tensor)]

    @property
    def outs(self) -> list[Any]:
        """The results of the operation, as a list."""
        return list(self.out) if isinstance(self.out, (tuple, list)) else [self.out]

    @property
    def first(self) -> Any:
        """The first output."""
        return self.outs[0]


@dataclass(frozen=True)
class Rule:
    """How an operation labels its outputs."""

    function: Function
    view: bool = False
    """Whether the operation only rearranges positions, so that contexts that are unknown may stay unknown."""


RULES: dict[str, Rule] = {}


def rule(*names: str, view: bool = False) -> Callable[[F], F]:
    """Register the rule of ATen operations.

    A rule is called as ``function(call)`` after the operation has run. By the methods of ``call.engine`` it says which
    units of the arguments must move together, and it returns the label of the output, a list with the label of each
    axis; where the operation returns several tensors, it holds for all, or the rule returns a list of labels, and an
    output without one pins the arguments once it is used. A rule pins whatever it is not sure about, or returns None:
    then all axes of the arguments are pinned, as for an operation without a rule.

    Parameters
    ----------
    *names : str
        Names of operations: ``"mm"``; outside ATen with the namespace, ``"mylibrary::mm"``. The rule of ``"relu"``
        holds for ``"relu_"`` too.
    view : bool, default=False
        Whether the operation only rearranges the positions of a tensor.

    Returns
    -------
    callable
        A decorator that returns the rule itself.

    Examples
    --------
    >>> from skfusion.tracing import rule
    >>> @rule("mylibrary::scaled")
    ... def scaled(call):
    ...     return call.label_of("x")
    """

    def register(function: F) -> F:
        for name in names:
            RULES[name] = Rule(function, view)
        return function

    return register


def tensors_among(arguments: Any) -> list[Tensor]:
    """Return the tensors among arguments, including those in lists, in order."""
    return [t for t in tree_flatten(arguments)[0] if isinstance(t, Tensor)]


def name_of(func: Any) -> str:
    """Return the name of an operation, as :func:`rule` takes it."""
    name: str = func._schema.name
    return name.removeprefix("aten::")


def find_rule(func: Any) -> Rule | None:
    """Return the rule of an operation, of its out-of-place variant, or of pointwise operations where it is one."""
    name = name_of(func)
    plain = name.removesuffix("_")
    known = RULES.get(name) or RULES.get(plain)
    return known or (RULES["pointwise"] if _is_pointwise(func, plain) else None)


def _is_pointwise(func: Any, plain: str) -> bool:
    if torch.Tag.pointwise in func.tags:
        return True
    packet = getattr(torch.ops.aten, plain, None) if "::" not in plain else None
    return packet is not None and any(torch.Tag.pointwise in getattr(packet, o).tags for o in packet.overloads())
