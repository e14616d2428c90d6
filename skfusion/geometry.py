r"""Where states stand to each other: distances, angles and sign conflicts of task vectors.

The task vector of a member is :math:`\tau_k = \theta_k - \theta_0`, from the common start to its weights.

References
----------
Ilharco et al., "Editing models with task arithmetic", ICLR 2023, arXiv:2212.04089 (cosines of task vectors). Yadav et
al., "TIES-Merging: resolving interference when merging models", NeurIPS 2023, arXiv:2306.01708 (sign conflicts).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skfusion.state import State, check_compatible, is_statistic, owners


class Geometry(NamedTuple):
    """How K states stand to each other.

    Parameters
    ----------
    distance : Tensor of shape (n_members, n_members)
        Euclidean distance of weights.
    norm : Tensor of shape (n_members,)
        Length of each task vector; of the weights themselves where there is no base.
    cosine : Tensor of shape (n_members, n_members)
        Cosine of the angle between task vectors; NaN where one of them is zero, or there is no base.
    sign_conflict : Tensor of shape (n_members, n_members)
        Share of the weights that both members have moved and moved in opposite directions, among those that both have
        moved; NaN where there are none, or there is no base.
    """

    distance: Tensor
    norm: Tensor
    cosine: Tensor
    sign_conflict: Tensor


def geometry(states: Sequence[State], base: State | None = None) -> Geometry:
    """Return distances, cosines and sign conflicts of all pairs.

    Integer tensors and BatchNorm statistics do not count; tied tensors count once.

    Parameters
    ----------
    states : sequence of State
        K states of one architecture.
    base : State, optional
        Their common starting point.

    Returns
    -------
    Geometry
        In float64 on the CPU.

    Examples
    --------
    >>> import torch
    >>> from skfusion.geometry import geometry
    >>> base = {"w": torch.zeros(3)}
    >>> found = geometry(
    ...     [{"w": torch.tensor([3.0, 4.0, 0.0])}, {"w": torch.tensor([-3.0, 4.0, 1.0])}], base
    ... )
    >>> found.distance[0, 1].item() ** 2, found.sign_conflict[0, 1].item()
    (37.0, 0.5)
    """
    sources = [*states] if base is None else [*states, base]
    n = len(states)
    check_compatible(sources, [*map(str, range(n)), "base"][: len(sources)])
    squares, products, agreed, moved = (torch.zeros(n, n, dtype=torch.float64) for _ in range(4))
    for name, owner in owners(sources).items():
        if owner != name or is_statistic(name) or not sources[0][name].is_floating_point():
            continue
        rows = torch.stack([s[name].detach().to("cpu", torch.float64).flatten() for s in sources])
        for k in range(n):  # differences before squares: what states have in common does not drown them
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
