r"""How similar states and representations are: distances, angles of task vectors, sign conflicts, and CKA.

The task vector of a member is :math:`\tau_k = \theta_k - \theta_0`, from the common start to its weights.

References
----------
Ilharco et al., "Editing models with task arithmetic", ICLR 2023, arXiv:2212.04089 (cosines of task vectors). Yadav et
al., "TIES-Merging: resolving interference when merging models", NeurIPS 2023, arXiv:2306.01708 (sign conflicts).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skfusion.state import State, check_compatible, is_statistic, numbers_of

LEAST_ROWS = 4
"""Fewest rows for CKA, whose estimator divides by n - 3."""


class Geometry(NamedTuple):
    """Distances and angles between K states, in float64 on the CPU."""

    distance: Tensor  # Euclidean distance of weights; shape: (n_members, n_members)
    norm: Tensor  # length of task vectors, or of weights where there is no base; shape: (n_members,)
    cosine: Tensor  # of angles between task vectors, NaN where one is zero; shape: (n_members, n_members)
    sign_conflict: Tensor  # of the weights that both have changed, the share in opposite directions; same shape


def geometry(states: Sequence[State], base: State | None = None) -> Geometry:
    """Return distances, cosines and sign conflicts of all pairs.

    Integer tensors and BatchNorm statistics do not count; tied tensors count once. Task vectors are from ``base``, the
    common starting point of the states; without it, cosines and sign conflicts are NaN.

    Examples
    --------
    >>> import torch
    >>> from skfusion.geometry import geometry
    >>> base = {"w": torch.zeros(3)}
    >>> result = geometry(
    ...     [{"w": torch.tensor([3.0, 4.0, 0.0])}, {"w": torch.tensor([-3.0, 4.0, 1.0])}], base
    ... )
    >>> result.distance[0, 1].item() ** 2, result.sign_conflict[0, 1].item()
    (37.0, 0.5)
    """
    sources = [*states] if base is None else [*states, base]
    n = len(states)
    check_compatible(sources, [*map(str, range(n)), "base"][: len(sources)])
    squares, products, agreed, moved = (torch.zeros(n, n, dtype=torch.float64) for _ in range(4))
    for name, rows in numbers_of(sources):
        if is_statistic(name):
            continue
        for k in range(n):  # differences before squares, so that what states have in common costs no precision
            squares[k] += (rows[:n] - rows[k]).square().sum(dim=1)
        vectors = rows[:n] - (0 if base is None else rows[n])
        signs = vectors.sign()
        products += vectors @ vectors.T
        agreed += signs @ signs.T
        moved += signs.abs() @ signs.abs().T
    norm = products.diagonal().sqrt()
    unknown = torch.full((n, n), torch.nan, dtype=torch.float64)
    cosine = unknown if base is None else (products / (norm[:, None] * norm)).clamp(-1, 1)
    conflict = unknown if base is None else (moved - agreed) / 2 / moved
    return Geometry(squares.sqrt(), norm, cosine, conflict)


def inner(states: Sequence[State]) -> np.ndarray:
    """Return the inner products of the :func:`differences` of states, of shape (n_states, n_states)."""
    products = torch.zeros(len(states), len(states), dtype=torch.float64)
    for rows in differences(states):
        products += rows @ rows.T
    return np.asarray(products.numpy())


def differences(states: Sequence[State]) -> Iterator[Tensor]:
    """Yield, tensor by tensor, what states differ by from the first, shape (n_states, n_numbers), in float64.

    Tensors are matched by name. Integer tensors and BatchNorm statistics do not count; tensors that are tied in all
    states count once.
    """
    for name, rows in numbers_of(states):
        if not is_statistic(name):
            yield rows - rows[0]


def cka(A: Any, B: Any) -> float:
    r"""Return the similarity of two representations of the same rows, by linear centred kernel alignment.

    With the Gram matrices :math:`K = A A^T` and :math:`L = B B^T`,

    .. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}}

    where the estimator of HSIC leaves out the diagonals, so that it is unbiased: otherwise wide layers look similar on
    few rows whatever they compute. Rotations, permutations of units, offsets and a common scale do not change it.

    Parameters
    ----------
    A, B : array-like of shape (n_rows, ...)
        Representations of the same rows, at least 4, by two networks. Further axes are flattened.

    Returns
    -------
    float
        1 for representations that are equal up to the above, about 0 for unrelated ones, at least -1; NaN where one of
        them does not vary.

    References
    ----------
    Kornblith et al., "Similarity of neural network representations revisited", ICML 2019, arXiv:1905.00414. Nguyen,
    Raghu and Kornblith, "Do wide and deep networks learn the same things?", ICLR 2021, arXiv:2010.15327 (estimator).

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.diagnose import cka
    >>> A = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(cka(A, 2 * A[:, ::-1] + 1), 6)
    1.0
    """
    a, b = (torch.as_tensor(np.asarray(x, np.float64)) for x in (A, B))
    if len(a) != len(b) or len(a) < LEAST_ROWS:
        raise ValueError(
            f"Give two representations of the same rows, at least {LEAST_ROWS}; got {len(a)} and {len(b)}."
        )
    return float(alignments([gram(a), gram(b)])[0, 1])


def gram(x: Tensor) -> Tensor:  # x shape: (n_rows, ...)
    """Return the Gram matrix, centred so that inner products of such matrices are the unbiased HSIC times n (n - 3)."""
    rows = x.reshape(len(x), -1).double()
    rows = rows - rows.mean(0)  # which changes only the rounding, as the matrix is centred below
    n, k = len(rows), rows @ rows.T
    k.fill_diagonal_(0)
    sums = k.sum(0)
    k = k - (sums[:, None] + sums) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return k.fill_diagonal_(0)


def alignments(grams: Sequence[Tensor]) -> Tensor:
    """Return the cosines of centred Gram matrices, shape (n_members, n_members)."""
    flat = torch.stack([g.flatten() for g in grams])
    norms = flat.norm(dim=1, keepdim=True)
    flat = torch.where(norms > 0, flat / norms, torch.nan)
    return (flat @ flat.T).clamp(-1, 1)
