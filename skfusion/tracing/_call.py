"""What a rule is given: the labels of all tensors of a run, and a call of an operation; and the table of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakTensorKeyDictionary

from skfusion._numbers import place_of
from skfusion.tracing.algebra import Axis, Engine, Label, fixed_axes

LARGEST_INDEX = 1 << 20
"""Constants with more numbers than this are not used as indices."""
Labelled = Label | Sequence[Label | None] | None
Function = Callable[["Call"], Labelled]
F = TypeVar("F", bound=Function)


class Origin(IntEnum):
    """What the numbers of a tensor depend on; of several things the most variable one."""

    CONSTANT = 0
    WEIGHTS = 1
    INPUTS = 2


class Labels:
    """Labels of tensors by identity; tensors are not kept alive."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._labels: Any = WeakTensorKeyDictionary()
        self._origins: Any = WeakTensorKeyDictionary()
        self._reveals: Any = WeakTensorKeyDictionary()
        self._weights: dict[tuple[object, ...], Tensor] = {}  # by memory: modules may make new objects of their weights

    def of(self, tensor: Tensor) -> Label:
        """Return the label of a tensor; a new one is a constant, unless it is a weight in another object."""
        if tensor not in self._labels:
            weight = self._weights.get(place_of(tensor)) if tensor.numel() else None
            known = weight is not None
            self._labels[tensor] = self._labels[weight] if known else fixed_axes(tensor.shape)
            self._origins[tensor] = self._origins[weight] if known else Origin.CONSTANT
        label: Label = self._labels[tensor]
        return label

    def give(self, tensor: Tensor, label: Label, origin: Origin) -> None:
        """Label a tensor that does not come from an operation."""
        self._weights[place_of(tensor)] = tensor
        self.put(tensor, label, origin)

    def put(self, tensor: Tensor, label: Label, origin: Origin) -> None:
        """Label a tensor."""
        sizes = [axis.n for axis in label]
        if sizes != list(tensor.shape):
            raise ValueError(f"A label for shape {sizes} does not fit a tensor of shape {list(tensor.shape)}.")
        self._labels[tensor], self._origins[tensor] = list(label), origin

    def origin(self, tensors: Iterable[Tensor]) -> Origin:
        """Return what numbers that are computed from some tensors depend on."""
        return max((self._origins.get(t, Origin.CONSTANT) for t in tensors), default=Origin.CONSTANT)

    def no_constant(self, written: Tensor, origin: Origin) -> None:
        """Record that a tensor was written to: it, and all that share its memory, depend on ``origin`` from now on."""
        if origin is Origin.CONSTANT or not written.numel():
            return
        place = written.untyped_storage().data_ptr()
        for tensor in list(self._origins):
            if self._origins[tensor] < origin and tensor.untyped_storage().data_ptr() == place:
                self._origins[tensor] = origin

    def value(self, tensor: Tensor) -> npt.NDArray[Any] | None:
        """Return the numbers of a constant, and None for tensors that depend on inputs or weights."""
        if self.origin([tensor]) is not Origin.CONSTANT or tensor.numel() > LARGEST_INDEX:
            return None
        value: npt.NDArray[Any] = tensor.detach().cpu().numpy()
        return value

    def reveals_order(self, tensor: Tensor, axes: Iterable[Axis]) -> None:
        """Record that a tensor reveals the order of some axes, as ``argmax`` does; they are pinned once it is used."""
        self._reveals[tensor] = [*self._reveals.get(tensor, ()), *axes]

    def use(self, tensor: Tensor) -> None:
        """Pin the axes whose order a tensor reveals."""
        for axis in self._reveals.get(tensor, ()):
            self.engine.pin_axis(axis, "a result that depends on the order of units is used")


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
    def is_pointwise(self) -> bool:
        """Whether each number of the result is computed from one number of each argument."""
        plain = self.name.removesuffix("_")
        known = RULES.get(plain)
        return known is RULES["pointwise"] if known else _is_pointwise(self.func, plain)

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
