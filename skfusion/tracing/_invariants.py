r"""Which scales of weights leave a function as it is, read off its gradients.

Where :math:`f` stays if the weights of a unit are scaled by :math:`c^{e_p}` at each place p, for any c, its derivative
in c vanishes: :math:`\sum_p e_p \, \langle W_p, \partial f / \partial W_p \rangle = 0` for each unit, and for any
combination of outputs. The exponents e are the null vectors of a matrix that a few backward passes give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skfusion.state import State, owners
from skfusion.symmetry import Place
from skfusion.tracing._proof import Probe, rebuilt
from skfusion.tracing._run import copied, run, tensors_in

NULL = 1e-8
"""A singular value below this share of the largest one counts as zero."""
NEAR = 1e-5
"""How far a computed exponent may be from an integer."""
LARGEST = 2
"""Exponents of larger size are not taken for any."""


def gradients(probe: Probe, n: int, seed: int) -> list[State]:
    """Return gradients of n random combinations of the outputs by the parameters; those of tied ones are summed."""
    module = rebuilt(probe.module, probe.state)
    parameters = [*module.named_parameters(remove_duplicate=False)]
    for _, parameter in parameters:
        parameter.requires_grad_(parameter.is_floating_point())
    outs = run(module, copied(probe.inputs), within=[torch.enable_grad()])
    outputs = [t for t in tensors_in(outs) if t.requires_grad]
    if not outputs:
        raise RuntimeError("its outputs have no gradient")
    generator = torch.Generator().manual_seed(seed)
    owner = owners([probe.state])
    unique = {id(p): p for _, p in parameters if p.requires_grad}
    out = []
    for _ in range(n):
        draws = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in outputs]
        total = torch.stack([(t * draw).sum() for t, draw in zip(outputs, draws, strict=True)]).sum()
        grads = torch.autograd.grad(total, [*unique.values()], retain_graph=True, allow_unused=True)
        by_id = dict(zip(unique, grads, strict=True))
        found: State = {}
        seen: set[int] = set()
        for name, p in parameters:
            grad = by_id.get(id(p))
            first = owner[name]
            found.setdefault(first, torch.zeros_like(probe.state[first]))
            if grad is not None and id(p) not in seen:
                found[first] = found[first] + grad
            seen.add(id(p))
        out.append(found)
    return out


def log_derivatives(places: Sequence[Place], state: State, grads: Sequence[State]) -> np.ndarray:
    """Return the derivatives by the logarithm of the scale of each unit, of shape (n_gradients * n_units, n_places)."""
    columns: list[Tensor] = []
    for place in places:
        value = place.read(state[place.tensor])
        columns.append(torch.stack([(value * place.read(g[place.tensor])).sum(-1).reshape(-1) for g in grads]))
    return torch.stack([c.reshape(-1) for c in columns], 1).numpy()


def dead(matrix: np.ndarray) -> np.ndarray:
    """Return which places have no effect, of shape (n_places,)."""
    sizes = np.abs(matrix).max(0, initial=0)
    return np.asarray(sizes <= 1e-11 * max(sizes.max(initial=0), 1e-300))


def exponents(matrix: np.ndarray, first: Sequence[int] = ()) -> list[tuple[int, np.ndarray]]:
    """Return null vectors of small integers, each with the place that has exponent 1 there and 0 in the others.

    Such places are sought among ``first`` first. Places without effect have the exponent 0.
    """
    alive = np.flatnonzero(~dead(matrix))
    if not len(alive):
        return []
    sizes = np.linalg.norm(matrix[:, alive], axis=0)
    _, values, rows = np.linalg.svd(matrix[:, alive] / sizes)
    n_null = len(alive) - int((values > NULL * values[0]).sum())
    if not n_null:
        return []
    basis = rows[-n_null:] / sizes
    basis /= np.abs(basis).max(1, keepdims=True)
    order = sorted(range(len(alive)), key=lambda k: alive[k] not in set(first))
    reduced, pivots = _reduced(basis, order)
    out = []
    for row, pivot in zip(reduced, pivots, strict=True):
        near = np.rint(row)
        if np.abs(row - near).max() < NEAR and np.abs(near).max() <= LARGEST:
            vector = np.zeros(matrix.shape[1], int)
            vector[alive] = near
            out.append((int(alive[pivot]), vector))
    return out


def _reduced(basis: np.ndarray, order: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Return the reduced row echelon form, with pivots sought in an order of the columns."""
    basis, pivots = basis.copy(), list[int]()
    for column in order:
        k = len(pivots)
        if k == len(basis):
            break
        best = k + int(np.abs(basis[k:, column]).argmax())
        if abs(basis[best, column]) < NEAR * np.abs(basis[k:]).max():
            continue
        basis[[k, best]] = basis[[best, k]]
        basis[k] /= basis[k, column]
        others = [i for i in range(len(basis)) if i != k]
        basis[others] -= np.outer(basis[others, column], basis[k])
        pivots.append(column)
    return basis[: len(pivots)], pivots
