"""Many points of a subspace of weights at once: tensors that are linear combinations of a few control tensors.

A layer that is linear in its weights gives, for a combination of weights, the same combination of what it gives for
each of them. Where all points have the same input, as in a network's first layer, m products serve all points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skfusion._numbers import place_of
from skfusion._vectorized._members import Members, lent, slots_of

_Products = dict[tuple[int, int], tuple[Tensor, int, Tensor]]
"""By the ids of the controls of a weight and a bias: the input, its version, and the products of the controls."""


class Combinations(Members):
    """K tensors as one, each a linear combination of m control tensors.

    ``coefficients`` has the shape (n_members, n_controls) and ``controls`` the shape (n_controls, ...). ``products``
    keeps the products of the controls with an input for as long as the input is the same.
    """

    _parts: tuple[Tensor, Tensor, _Products]
    _sum: Tensor | None

    @staticmethod
    def __new__(cls, coefficients: Tensor, controls: Tensor, products: _Products) -> Combinations:
        made: Combinations = torch.Tensor._make_wrapper_subclass(
            cls, controls.shape[1:], dtype=controls.dtype, device=controls.device
        )
        made._parts, made._sum = (coefficients, controls, products), None
        return made

    @property
    def value(self) -> Tensor:  # type: ignore[override]
        """The tensors themselves, shape (n_members, ...), which are computed when they are first asked for."""
        if self._sum is None:
            coefficients, controls, _ = self._parts
            self._sum = torch.tensordot(coefficients, controls, 1)
        return self._sum

    def applied_to(self, x: Tensor, bias: Combinations | None) -> Tensor:
        """Return what a linear layer of these weights gives for one input, shape (n_members, ..., n_outputs).

        The bias must have the same coefficients.
        """
        coefficients, controls, products = self._parts
        # controls live as long as the products do, so their ids are not used again by others meanwhile
        key = id(controls), 0 if bias is None else id(bias._parts[1])
        known = products.get(key)
        if known is None or not _same(known[0], x) or known[0]._version != known[1]:
            biases = [None] * len(controls) if bias is None else [*bias._parts[1]]
            parts = [F.linear(x, w, b) for w, b in zip(controls, biases, strict=True)]
            products[key] = known = x, x._version, torch.stack(parts)
        out: Tensor = torch.tensordot(coefficients, known[2], 1)
        return out


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are the same numbers in memory; ``a`` is still held, so its memory is not reused."""
    return a is b or place_of(a) == place_of(b)


class SubspaceModule:
    """Runs a module for many points of a subspace at once.

    ``controls`` are the m states that span the subspace; tensors that are not floating-point must be equal in all.
    """

    def __init__(self, module: nn.Module, controls: Sequence[Mapping[str, Tensor]]):
        self.module = module
        self._slots = slots_of(module)
        self._products: _Products = {}
        first = controls[0]
        self._combined = {
            k: torch.stack([c[k].detach() for c in controls]) for k, t in first.items() if t.is_floating_point()
        }
        self._rest = {k: t.clone() for k, t in first.items() if k not in self._combined}

    def points(self, coefficients: Tensor) -> dict[str, Tensor]:
        """Return the tensors of the points that have these coefficients, shape (n_points, n_controls), by name."""
        combined: dict[str, Tensor] = {
            k: Combinations(coefficients.to(t.device, t.dtype), t, self._products) for k, t in self._combined.items()
        }
        return combined | self._rest

    @contextmanager
    def holding(self, tensors: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        """Lend tensors of :meth:`points` to the module, which then gives :class:`Members` for an input."""
        with lent(self.module, tensors, self._slots):
            yield self.module

    def forget(self) -> None:
        """Free the products with the last input."""
        self._products.clear()


def value_of(out: Any) -> Tensor:
    """Return the outputs of all members; raise for a module whose output does not depend on its weights."""
    if not isinstance(out, Members):
        raise NotImplementedError("The output does not depend on the weights.")
    return out.value
