"""What is known of the tensors of a run: labels, constants, and results that tell an order."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import numpy.typing as npt
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from skfusion.tracing._axis import Axis, fixed_axis
from skfusion.tracing._engine import Engine, Label

LARGEST_INDEX = 1 << 20
"""Constants with more numbers than this are not read as indices."""


class Origin(IntEnum):
    """What the numbers of a tensor come from, the most variable of all."""

    CONSTANT = 0
    WEIGHTS = 1
    INPUTS = 2


class Labels:
    """Labels of tensors by identity; tensors are not kept alive.

    Parameters
    ----------
    engine : Engine
        The algebra of labels.
    """

    def __init__(self, engine: Engine):
        self.engine = engine
        self._labels: Any = WeakTensorKeyDictionary()
        self._origins: Any = WeakTensorKeyDictionary()
        self._tells: Any = WeakTensorKeyDictionary()
        self._given: dict[tuple[Any, ...], Tensor] = {}

    def of(self, tensor: Tensor) -> Label:
        """Return the label of a tensor; one never seen before is a constant, unless it is a weight by another name."""
        if tensor not in self._labels:
            given = self._given.get(memory(tensor)) if tensor.numel() else None
            known = given is not None
            self._labels[tensor] = self._labels[given] if known else [fixed_axis(n) for n in tensor.shape]
            self._origins[tensor] = self._origins[given] if known else Origin.CONSTANT
        label: Label = self._labels[tensor]
        return label

    def give(self, tensor: Tensor, label: Label, origin: Origin) -> None:
        """Label a tensor that does not come from an operation."""
        self._given[memory(tensor)] = tensor
        self.put(tensor, label, origin)

    def put(self, tensor: Tensor, label: Label, origin: Origin) -> None:
        """Label a tensor."""
        sizes = [axis.n for axis in label]
        if sizes != list(tensor.shape):
            raise ValueError(f"A label for shape {sizes} does not fit a tensor of shape {list(tensor.shape)}.")
        self._labels[tensor], self._origins[tensor] = list(label), origin

    def origin(self, tensors: Iterable[Tensor]) -> Origin:
        """Return what numbers that are computed from tensors come from."""
        return max((self._origins.get(t, Origin.CONSTANT) for t in tensors), default=Origin.CONSTANT)

    def no_constant(self, written: Tensor, origin: Origin) -> None:
        """Write down that a tensor, and all that share its memory, have been written to."""
        if origin is Origin.CONSTANT or not written.numel():
            return
        place = written.untyped_storage().data_ptr()
        for tensor in list(self._origins):
            if self._origins[tensor] < origin and tensor.untyped_storage().data_ptr() == place:
                self._origins[tensor] = origin

    def value(self, tensor: Tensor) -> npt.NDArray[Any] | None:
        """Return the numbers of a tensor that depends on neither inputs nor weights; None of others."""
        if self.origin([tensor]) is not Origin.CONSTANT or tensor.numel() > LARGEST_INDEX:
            return None
        value: npt.NDArray[Any] = tensor.detach().cpu().numpy()
        return value

    def tells_order(self, tensor: Tensor, axes: Iterable[Axis]) -> None:
        """Write down that a tensor tells the order of some axes, as ``argmax`` does: whoever uses it pins them."""
        self._tells[tensor] = [*self._tells.get(tensor, ()), *axes]

    def use(self, tensor: Tensor) -> None:
        """Pin the axes whose order a tensor tells."""
        for axis in self._tells.get(tensor, ()):
            self.engine.pin_axis(axis, "a result that depends on the order of units is used")


def memory(tensor: Tensor) -> tuple[Any, ...]:
    """Return what tensors with the same numbers in the same memory have in common."""
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype
