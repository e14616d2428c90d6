"""What each axis of a weight is used for: operations make units along it, read them, or scale each of them.

Weights reach an operation as they are, as views (a transpose, a slice), or after a computation on weights alone (a
cast, a mask). Views are recognised by their memory, so nothing has to be computed to follow them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from skfusion.tracing._call import Call, Origin
from skfusion.tracing.rules import contracted, matched

_Source = frozenset[tuple[int, int]]
"""Axes of weights, by number of the weight and of the axis."""
_NOWHERE: _Source = frozenset()
ADDED = ("add", "sub", "rsub", "where", "copy_", "maximum", "minimum", "masked_fill")
SCALING, LENGTHS = ("prelu", "_prelu_kernel"), ("_weight_norm_interface", "_weight_norm")
NORM_SCALES = ("weight", "running_var")


@dataclass(frozen=True)
class _Memory:
    """A weight, or a tensor that is computed from weights alone, and the axes of weights that its own axes are of."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    sources: tuple[_Source, ...]

    def of(self, tensor: Tensor) -> list[_Source] | None:
        """Return the sources of the axes of a view of this memory; None where it is a view of something else."""
        start = int(tensor.storage_offset()) - self.offset
        order = sorted((d for d, n in enumerate(self.shape) if n > 1), key=lambda d: -self.strides[d])
        size = 1 + sum((self.shape[d] - 1) * self.strides[d] for d in order)
        if not 0 <= start < size or any(self.strides[d] == 0 for d in order):
            return None
        found = []
        for n, stride in zip(tensor.shape, tensor.stride(), strict=True):
            left, source = start + stride * np.arange(n), _NOWHERE
            for d in order:
                index, left = np.divmod(left, self.strides[d])
                if (index != index[:1]).any():
                    source |= self.sources[d]
            found.append(source)
        return found


class Uses:
    """What operations have done along the axes of weights."""

    def __init__(self, weights: Sequence[Sequence[Tensor]]):
        self._memory: dict[int, list[_Memory]] = {}
        self._n_axes = [tensors[0].dim() for tensors in weights]
        self._seen: dict[tuple[int, int], set[str]] = {}
        self._weights = {t.untyped_storage().data_ptr() for tensors in weights for t in tensors}
        for k, tensors in enumerate(weights):
            for tensor in tensors:
                sources = tuple(frozenset([(k, d)]) for d in range(tensor.dim()))
                self._keep(tensor, sources)

    def roles(self, weight: int) -> tuple[str | None, ...]:
        """Return the role of each axis of a weight; None where no operation said anything."""
        return tuple(self._role(self._seen.get((weight, d), set())) for d in range(self._n_axes[weight]))

    def _role(self, seen: set[str]) -> str | None:
        if "both" in seen or ("in" in seen and len(seen) > 1):
            return "both"
        return next((role for role in ("in", "scale", "out") if role in seen), None)

    def see(self, call: Call, origin: Origin) -> None:
        """Record what an operation does to weights; results of weights alone are followed."""
        weights = [t for t in call.tensors if call.labels.origin([t]) is Origin.WEIGHTS and t.numel()]
        if origin is Origin.INPUTS:
            for tensor in weights:
                self._record(call, tensor)
        elif origin is Origin.WEIGHTS:
            self._follow(call, weights)

    def _record(self, call: Call, tensor: Tensor) -> None:
        """Record what an operation that brings a weight together with the inputs does along its axes."""
        read, one_by_one = [d for t, d in contracted(call) if t is tensor], matched(call, tensor)
        use = _use(call, tensor)
        for d, source in enumerate(self._sources(tensor)):
            self._see(source, "in" if d in read else "scale" if d in one_by_one else use)
            if d in read and d in one_by_one:  # the channels of a grouped convolution that is transposed
                self._see(source, "scale")

    def _see(self, source: _Source, role: str) -> None:
        for place in source:
            self._seen.setdefault(place, set()).add(role)

    def _follow(self, call: Call, weights: Sequence[Tensor]) -> None:
        """Keep where the axes of a new tensor come from, if it is computed entry by entry or is a product."""
        out = call.first
        inputs = {t.untyped_storage().data_ptr() for t in call.tensors}
        if not isinstance(out, Tensor) or not out.numel() or out.untyped_storage().data_ptr() in inputs | self._weights:
            return
        sources = [_NOWHERE] * out.dim()
        read = contracted(call)
        if call.name in LENGTHS:
            for source in (s for tensor in weights for s in self._sources(tensor)):
                self._see(source, "scale")
        if len(read) == 2:  # the first factor makes units for the second, as if it were an activation
            (a, c), (b, d) = read
            self._see(self._sources(a)[c], "out")
            self._see(self._sources(b)[d], "in")
            if a.dim() == b.dim() == 2:
                sources = [self._sources(a)[0], self._sources(b)[1 - d]]
        elif not read and out.dim() == max(t.dim() for t in call.tensors):
            for tensor in weights:
                for d, source in enumerate(self._sources(tensor), out.dim() - tensor.dim()):
                    sources[d] |= source if tensor.shape[d - out.dim()] == out.shape[d] else _NOWHERE
        self._memory.pop(out.untyped_storage().data_ptr(), None)  # memory that was freed may be used again
        self._keep(out, tuple(sources))

    def _keep(self, tensor: Tensor, sources: tuple[_Source, ...]) -> None:
        if tensor.numel():
            memory = _Memory(int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(), sources)
            self._memory.setdefault(tensor.untyped_storage().data_ptr(), []).append(memory)

    def _sources(self, tensor: Tensor) -> list[_Source]:
        for memory in self._memory.get(tensor.untyped_storage().data_ptr(), ()):
            found = memory.of(tensor)
            if found is not None:
                return found
        return [_NOWHERE] * tensor.dim()


def _use(call: Call, tensor: Tensor) -> str:
    """Return what an operation does along the axes of a weight that it does not sum over."""
    if any(call[name] is tensor for name in NORM_SCALES) and "norm" in call.name:
        return "scale"
    scaled = call.is_pointwise and call.name.removesuffix("_") not in ADDED
    return "scale" if scaled or call.name in SCALING else "out"
