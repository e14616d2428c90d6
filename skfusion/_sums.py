"""Sums of states of one architecture, of which many are formed: the small tensors of states are added as one.

A network of a few thousand numbers costs a processor less than the calls that it takes to add its tensors one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from skfusion._numbers import is_stored_only, is_summed, largest, narrowed, sum_of, wide

_SMALL = 2**16
"""Numbers up to which a tensor is copied into a buffer; a larger one costs more memory than calls."""
_PART = 2**16
"""Numbers of a large tensor that are added at a time: sums in double precision that leave the processor's cache take
twice as long, and more where the system maps their memory anew each time."""
_LINE = 64
"""Bytes of a line of a processor's cache, on which tensors begin: kernels may round by where their operands begin."""
_AT_A_TIME = 8
"""Means that are computed at a time at most; more do not stay in the processor's cache."""


class Layout:
    """Which tensors of a state are small and of one dtype and device, and where each begins in a buffer of them all."""

    def __init__(self, state: Mapping[str, Tensor], names: Iterable[str]):
        self.places: dict[str, tuple[Any, Any, int]] = {}  # shape, strides and offset
        self.others: list[str] = []
        self.size = 0
        self._padding: dict[str, Tensor] = {}
        kind = None
        for name in names:
            t = state[name]
            alike = kind is None or kind == (t.dtype, t.device)
            if not alike or not is_summed(t) or is_stored_only(t) or not t.is_contiguous() or t.numel() > _SMALL:
                self.others.append(name)
                continue
            kind = self.dtype, self._device = t.dtype, t.device
            self.places[name] = t.shape, t.stride(), self.size
            if rest := -t.numel() % max(1, _LINE // t.element_size()):
                self._padding[name] = t.new_zeros(rest).detach()
            self.size += t.numel() + rest

    def gathered(self, states: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """Return the numbers of the small tensors of some states, shape (n_states, size).

        They are in double precision where a tensor has another dtype than that of the layout.
        """
        padding, flat = self._padding, []
        with torch.no_grad():
            for state in states:
                for name in self.places:
                    t = state[name]
                    if t.dtype != self.dtype or t.device != self._device:
                        t = wide(t).to(self._device)
                    flat.append(t.reshape(-1))
                    if name in padding:
                        flat.append(padding[name])
            return torch.cat(flat).view(len(states), self.size)

    def tensors(self, numbers: Tensor, row: int = 0) -> dict[str, Tensor]:
        """Return the tensors whose numbers are in a row of numbers, as views of it."""
        start = row * self.size
        return {name: numbers.as_strided(a, b, start + offset) for name, (a, b, offset) in self.places.items()}


class RunningSum:
    """A sum of states of one architecture in float64, to which states are added one by one; it begins with one."""

    def __init__(self, state: Mapping[str, Tensor]):
        self._like, self._n = state, 1
        self._layout = layout = Layout(state, state)
        self._numbers = wide(layout.gathered([state])) if layout.places else None
        self._others = {name: wide(state[name]) for name in layout.others}

    def plus(self, state: Mapping[str, Tensor]) -> RunningSum:
        """Return the sum with one more state of the same architecture, unchecked; this sum is not changed."""
        out = object.__new__(RunningSum)
        out._like, out._layout, out._n = self._like, self._layout, self._n + 1
        out._numbers = None if self._numbers is None else self._numbers + self._layout.gathered([state])
        out._others = self._others_with(state)
        return out

    def mean(self) -> dict[str, Tensor]:
        """Return the mean in the dtypes of the first state; of integers the maximum, as in :func:`weighted_sum`."""
        return next(self._means(self._numbers, self._n, [self._others]))

    def means_with(self, states: Iterable[Mapping[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """Iterate over ``plus(state).mean()`` of each state, of which some are computed at a time: 1, 2, 4, and so on.

        So the one who stops at a state has caused little needless work.
        """
        states, n = iter(states), 1
        while some := [*islice(states, n)]:
            numbers = None if self._numbers is None else self._numbers + self._layout.gathered(some)
            yield from self._means(numbers, self._n + 1, map(self._others_with, some))
            n = min(2 * n, _AT_A_TIME)

    def _others_with(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums of the tensors that are not small, with one more state."""
        return {
            k: total + state[k].detach().to(total) if is_summed(total) else largest([total, state[k]])
            for k, total in self._others.items()
        }

    def _means(
        self, numbers: Tensor | None, n: int, others: Iterable[dict[str, Tensor]]
    ) -> Iterator[dict[str, Tensor]]:
        """Iterate over the means of n states each: a row of numbers, and the sums of their other tensors."""
        means = None if numbers is None else (numbers / n).to(self._layout.dtype)
        for row, sums in enumerate(others):
            tensors = {} if means is None else self._layout.tensors(means, row)
            if sums:
                for k, total in sums.items():
                    tensors[k] = (total / n).to(self._like[k].dtype) if is_summed(total) else total
                tensors = {k: tensors[k] for k in self._like}
            yield tensors


class WeightedSums:
    """Sums of the same states by many weights, each as :func:`skfusion.state.weighted_sum` returns it; unchecked.

    ``owner`` maps each name to the first name of its tensor.
    """

    def __init__(self, states: Sequence[Mapping[str, Tensor]], owner: Mapping[str, str]):
        self._states, self._owner = states, owner
        self._layout = Layout(states[0], dict.fromkeys(owner.values()))
        self._small: dict[int, Tensor] = {}

    def __call__(self, weights: Sequence[float], apart: bool = False) -> dict[str, Tensor]:
        """Return the sum by one weight a state; its small tensors are views of one buffer unless they are ``apart``."""
        coefficients = [float(w) for w in weights]
        if len(coefficients) != len(self._states):
            raise ValueError(
                f"Got {len(coefficients)} weights for {len(self._states)} states; give one weight for each state."
            )
        kept = {k: c for k, c in enumerate(coefficients) if c != 0} or {0: coefficients[0]}
        sums = self._of_small(kept) if self._layout.places else {}
        if apart:
            sums = {name: t.clone() for name, t in sums.items()}
        for name in self._layout.others:
            sums[name] = self._of_one(name, kept)
        return {name: sums[owner] for name, owner in self._owner.items()}

    def _of_small(self, kept: Mapping[int, float]) -> dict[str, Tensor]:
        """Return the sums of the small tensors."""
        layout, total = self._layout, None
        for k, c in kept.items():
            if k not in self._small:
                self._small[k] = layout.gathered([self._states[k]])
            total = torch.zeros_like(wide(self._small[k])) if total is None else total
            total.add_(self._small[k], alpha=c)
        assert total is not None
        try:
            return layout.tensors(narrowed(total, layout.dtype, ""))
        except ValueError:  # the message names the tensor
            return {name: narrowed(t, layout.dtype, name) for name, t in layout.tensors(total).items()}

    def _of_one(self, name: str, kept: Mapping[int, float]) -> Tensor:
        """Return the sum of a tensor that is not small."""
        first = self._states[0][name]
        if not is_summed(first):
            return narrowed(largest([self._states[k][name] for k in kept]), first.dtype, name)
        tensors = [self._states[k][name].detach().reshape(-1) for k in kept]
        out = torch.empty(first.shape, dtype=first.dtype, device=first.device)
        size = _PART if first.device.type == "cpu" else max(1, first.numel())
        for start in range(0, first.numel(), size):
            total = sum_of([t[start : start + size] for t in tensors], [*kept.values()])
            out.view(-1)[start : start + size] = narrowed(total, first.dtype, name)
        return out
