"""Points of a subspace as one: tensors that are sums of a few control tensors.

A layer that is linear in its weights gives, for the sum of some weights, the sum of what it gives for each of them.
Where its input is the same for all points, as that of a network's first layer is, m products serve all of them.
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


class Spanned(Members):
    """K tensors as one, each the sum of m control tensors.

    Parameters
    ----------
    coefficients : Tensor of shape (n_members, n_controls)
        Of the sums.
    controls : Tensor of shape (n_controls, ...)
        What is summed.
    products : dict
        Where products with an input are kept for as long as the input is the same.
    """

    _parts: tuple[Tensor, Tensor, _Products]
    _sum: Tensor | None

    @staticmethod
    def __new__(cls, coefficients: Tensor, controls: Tensor, products: _Products) -> Spanned:
        """Return a tensor whose sums are computed when they are asked for."""
        made: Spanned = torch.Tensor._make_wrapper_subclass(
            cls, controls.shape[1:], dtype=controls.dtype, device=controls.device
        )
        made._parts, made._sum = (coefficients, controls, products), None
        return made

    @property
    def value(self) -> Tensor:  # type: ignore[override]
        """The tensors themselves, shape (n_members, ...)."""
        if self._sum is None:
            coefficients, controls, _ = self._parts
            self._sum = torch.tensordot(coefficients, controls, 1)
        return self._sum

    def applied_to(self, x: Tensor, bias: Spanned | None) -> Tensor:
        """Return what a linear layer of these weights gives for one input.

        Parameters
        ----------
        x : Tensor of shape (..., n_inputs)
            The input of all members.
        bias : Spanned or None
            The bias of the layer, with the same coefficients.

        Returns
        -------
        Tensor of shape (n_members, ..., n_outputs)
            What the members give.
        """
        coefficients, controls, products = self._parts
        key = id(controls), 0 if bias is None else id(bias._parts[1])
        known = products.get(key)
        if known is None or not _same(known[0], x) or known[0]._version != known[1]:
            biases = [None] * len(controls) if bias is None else [*bias._parts[1]]
            parts = [F.linear(x, w, b) for w, b in zip(controls, biases, strict=True)]
            products[key] = known = x, x._version, torch.stack(parts)
        out: Tensor = torch.tensordot(coefficients, known[2], 1)
        return out


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are the same numbers in memory; ``a`` is still held, so its place is not another's."""
    return a is b or place_of(a) == place_of(b)


class Span:
    """Runs many points of a subspace in a module at once.

    Parameters
    ----------
    module : nn.Module
        The architecture.
    controls : sequence of dict of Tensor
        Its m states. Tensors that are no floats must be alike in all.
    """

    def __init__(self, module: nn.Module, controls: Sequence[Mapping[str, Tensor]]):
        self.module = module
        self._slots = slots_of(module)
        self._products: _Products = {}
        first = controls[0]
        self._summed = {
            k: torch.stack([c[k].detach() for c in controls]) for k, t in first.items() if t.is_floating_point()
        }
        self._rest = {k: t.clone() for k, t in first.items() if k not in self._summed}

    def points(self, coefficients: Tensor) -> dict[str, Tensor]:
        """Return the tensors of some points.

        Parameters
        ----------
        coefficients : Tensor of shape (n_points, n_controls)
            Of the points.

        Returns
        -------
        dict of Tensor
            :class:`Spanned` tensors by name; those that are not summed as they are.
        """
        found: dict[str, Tensor] = {
            k: Spanned(coefficients.to(t.device, t.dtype), t, self._products) for k, t in self._summed.items()
        }
        return found | self._rest

    @contextmanager
    def holding(self, tensors: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        """Lend tensors of :meth:`points` to the module.

        Parameters
        ----------
        tensors : dict of Tensor
            By name.

        Yields
        ------
        nn.Module
            It gives a :class:`Members` for an input.
        """
        with lent(self.module, tensors, self._slots):
            yield self.module

    def forget(self) -> None:
        """Free the products with the last input."""
        self._products.clear()


def value_of(out: Any) -> Tensor:
    """Return the outputs of all members; of a module that does not look at its weights, there are none."""
    if not isinstance(out, Members):
        raise NotImplementedError("The output does not depend on the weights.")
    return out.value
