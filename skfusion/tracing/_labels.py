"""What is known about the tensors of a run: their labels, what their numbers depend on, and what reveals an order."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import numpy.typing as npt
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from skfusion.tracing._axis import Axis, fixed_axes
from skfusion.tracing._engine import Engine, Label

LARGEST_INDEX = 1 << 20
"""Constants with more numbers than this are not used as indices."""


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
        self._weights: dict[tuple[Any, ...], Tensor] = {}  # by memory: modules may make new objects of their weights

    def of(self, tensor: Tensor) -> Label:
        """Return the label of a tensor; a new one is a constant, unless it is a weight in another object."""
        if tensor not in self._labels:
            weight = self._weights.get(memory(tensor)) if tensor.numel() else None
            known = weight is not None
            self._labels[tensor] = self._labels[weight] if known else fixed_axes(tensor.shape)
            self._origins[tensor] = self._origins[weight] if known else Origin.CONSTANT
        label: Label = self._labels[tensor]
        return label

    def give(self, tensor: Tensor, label: Label, origin: Origin) -> None:
        """Label a tensor that does not come from an operation."""
        self._weights[memory(tensor)] = tensor
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


def memory(tensor: Tensor) -> tuple[Any, ...]:
    """Return a key that is equal for tensors with the same numbers in the same memory."""
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype
