"""Squared gradients of single rows, summed over rows, in the quickest way that a network allows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from skfusion._batches import mapped, rows_at
from skfusion.merge.statistics._matrices import input_of, keys_of, own_layers
from skfusion.objective import Input, Likelihood, Objective
from skfusion.state import State

_BUDGET = 2**20  # numbers that the gradients of a piece may have
_FEW = 3  # rows on which the short way is proved


@dataclass(frozen=True)
class Gradients:
    """What is needed to differentiate the outputs of a state by some of its tensors, those called ``names``.

    ``owner`` maps each name to the first name of its tensor: tied tensors are differentiated as one.
    """

    objective: Objective
    likelihood: Likelihood
    state: State
    owner: dict[str, str]
    names: tuple[str, ...]

    def logits(self, params: State, x: Input) -> Tensor:
        """Return the logits, shape (n_rows, n_outputs), with ``params`` in the places of the named tensors."""
        state = {key: params.get(self.owner[key], value) for key, value in self.state.items()}
        return self.likelihood.logits(self.objective.forward(state, x))


class Squares:
    """Sum the squared gradients of rows.

    Linear layers that see one vector a row take a short way, where this is proved right on a few rows: the module might
    use their weights otherwise, too, or mix rows. All else is differentiated row by row, rows together where
    ``torch.func`` can do that, otherwise one after another.
    """

    def __init__(self, gradients: Gradients):
        self._gradients = gradients
        self._proven: set[str] | None = None
        self._together = True

    def __call__(self, x: Input, pulls: Tensor) -> State:  # pulls, shape: (n_rows, n_pulls, n_outputs)
        """Return the squared gradients of ``pulls · logits``, summed over rows and pulls, in float64."""
        if self._proven is None:
            self._proven = self._prove(rows_at(x, torch.arange(len(pulls))[:_FEW]), pulls[:_FEW, :1])
        short = outer_products(self._gradients, x, pulls) if self._proven else {}
        sums = {name: value for name, value in short.items() if name in self._proven}
        return sums | self._long(x, pulls, [name for name in self._gradients.names if name not in sums])

    def _prove(self, x: Input, pulls: Tensor) -> set[str]:
        """Return the tensors whose squared gradients the short way finds."""
        try:
            short = outer_products(self._gradients, x, pulls)
        except Exception:  # it is up to the module what fails; the long way raises its errors
            return set()
        long = self._long(x, pulls, [*short])
        return {name for name, value in long.items() if float(value.max()) > 0 and _alike(short[name], value)}

    def _long(self, x: Input, pulls: Tensor, names: Sequence[str]) -> State:
        """Return the sums of squared gradients by the named tensors, in pieces that bound the memory."""
        state = self._gradients.state
        total = {name: torch.zeros_like(state[name], dtype=torch.float64) for name in names}
        room = max(1, _BUDGET // max(1, sum(t.numel() for t in total.values())))
        n_pulls = min(room, pulls.shape[1])
        for index in torch.split(torch.arange(len(pulls) if names else 0), max(1, room // n_pulls)):
            for few in torch.split(pulls[index], n_pulls, dim=1):
                for name, value in self._piece(rows_at(x, index), few, names).items():
                    total[name] += value
        return total

    def _piece(self, x: Input, pulls: Tensor, names: Sequence[str]) -> State:
        if self._together:
            try:
                return together(self._gradients, x, pulls, names)
            except Exception:  # it is up to the module what fails; one by one, its own errors are raised again
                self._together = False
        return one_by_one(self._gradients, x, pulls, names)


def _alike(a: Tensor, b: Tensor) -> bool:
    """Return whether two ways differ by no more than their rounding."""
    return float((a - b).abs().max()) <= 1e-3 * float(b.max())


def outer_products(gradients: Gradients, x: Input, pulls: Tensor) -> State:
    """Return sums for linear layers that are run once, on one vector a row.

    The gradient of a row is the outer product of the layer's input and of the gradient by its output, and the square of
    a product is that of squares (Goodfellow, "Efficient per-example gradient computations", 2015, arXiv:1510.01799).
    """
    layers = own_layers(gradients.objective.module, gradients.owner)
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def hook(name: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Tensor:
        probe = torch.zeros_like(out).requires_grad_()
        seen.setdefault(name, []).append((_wide(input_of(args, kwargs).detach()).square(), probe))
        return out + probe

    with ExitStack() as hooks, _batched():
        for name, layer in layers.items():
            if isinstance(layer, nn.Linear):
                hooks.enter_context(layer.register_forward_hook(partial(hook, name), with_kwargs=True))
        z = gradients.logits({}, x)
        once = {name: c[0] for name, c in seen.items() if len(c) == 1 and c[0][0].shape[:-1] == (len(pulls),)}
        probes = [probe for _, probe in once.values()]
        ways = pulls.transpose(0, 1)
        slopes = torch.autograd.grad(z, probes, ways, is_grads_batched=True) if probes else ()
    squares: State = {}
    for (name, (square, _)), slope in zip(once.items(), slopes, strict=True):
        by_row = _wide(slope).square().sum(0)
        sums = [by_row.mT @ square, by_row.sum(0)]
        squares |= {
            gradients.owner[key]: total.double() for key, total in zip(keys_of(name, layers[name]), sums, strict=False)
        }
    return squares


def together(gradients: Gradients, x: Input, pulls: Tensor, names: Sequence[str]) -> State:
    """Return sums by rows that are differentiated at once."""
    params = {name: gradients.state[name].detach() for name in names}

    def of_row(row: Input, pull: Tensor) -> State:
        one = mapped(row, lambda t: t.unsqueeze(0))
        back = vjp(lambda p: gradients.logits(p, one)[0], params)[1]
        of_pulls: State = vmap(back)(pull)[0]
        return of_pulls

    with _batched():
        gradients_of_rows = vmap(of_row)(x, pulls)
    return {name: _wide(g).square().sum((0, 1)).double() for name, g in gradients_of_rows.items()}


def one_by_one(gradients: Gradients, x: Input, pulls: Tensor, names: Sequence[str]) -> State:
    """Return sums by rows that are differentiated one after another."""
    params = {name: gradients.state[name].detach().requires_grad_() for name in names}
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in params.items()}
    for i, pull in enumerate(pulls):
        z = gradients.logits(params, rows_at(x, torch.tensor([i])))[0]
        for v in pull if z.requires_grad else ():
            slopes = torch.autograd.grad(z, [*params.values()], v, retain_graph=True, allow_unused=True)
            for name, g in zip(params, slopes, strict=True):
                if g is not None:
                    total[name] += g.double().square()
    return total


@contextmanager
def _batched() -> Iterator[None]:
    """Let kernels of attention be those that torch.func knows, and complain where it would go on row by row."""
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("error", message="There is a performance drop")
        yield


def _wide(t: Tensor) -> Tensor:
    """Return numbers whose squares do not vanish."""
    return t if t.dtype == torch.float64 else t.float()
