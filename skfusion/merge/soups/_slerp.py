"""Spherical interpolation (Shoemake, 1985), of many members by their Karcher mean (Buss & Fillmore, 2001)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from skfusion.merge._base import shares
from skfusion.merge._tensorwise import Entry, TensorMerger

_MAX_STEPS = 10_000
"""Each costs K² operations; some tens are the rule."""


class Slerp(TensorMerger):
    r"""Average directions on the sphere, and lengths apart from them.

    In each tensor the length is the weighted mean of the members' lengths, and the direction x is the point of the
    sphere with the least weighted sum of squared angles to the members' directions :math:`u_k`:

    .. math:: \theta = \Big(\sum_k w_k \lVert \theta_k \rVert\Big)\, x, \qquad
        x = \operatorname*{arg\,min}_{\lVert x \rVert = 1} \sum_k w_k \arccos^2 \langle x, u_k \rangle

    Of two members at the angle φ it is a point of the arc between them:

    .. math:: x = \frac{\sin((1 - t) \varphi)}{\sin \varphi} u_1 + \frac{\sin(t \varphi)}{\sin \varphi} u_2,
        \qquad t = \frac{w_2}{w_1 + w_2}

    Parameters
    ----------
    weights : sequence of float, optional
        Non-negative importance of each member, shape (K,); divided by their sum. A larger value pulls the result
        towards that member. Equal when omitted.

    Notes
    -----
    Costs O(K² d) for d parameters. Only the cosines of the members are needed to find x, by steps on the sphere from
    the weighted mean of the directions. The mean is unique where all directions are within half a sphere. Where two
    are opposite, or many point everywhere, there may be none, which is an error. A tensor of one number, or one that
    is all zeros in a member, has no directions to turn through: it becomes the weighted mean. Nearly equal directions
    do so by themselves. Mergekit's slerp sums two tensors by the factors of the arc without scaling them to one length
    before, so that the direction turns to the longer one.

    References
    ----------
    Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985, doi:10.1145/325334.325242.
    Buss & Fillmore, "Spherical averages and applications to spherical splines and interpolation", ACM Transactions
    on Graphics 20(2), 2001, doi:10.1145/502122.502124.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import Slerp
    >>> states = [{"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 1.0])}]
    >>> [round(v, 4) for v in Slerp(weights=[2, 1])(states)["w"].tolist()]
    [0.866, 0.5]
    """

    def __init__(self, weights: Sequence[float] | None = None):
        self.weights = weights

    def survey(self, read: Callable[[], Iterable[Entry]], n: int) -> list[float]:
        """Return the normalised weights; see :meth:`TensorMerger.survey`."""
        return shares("Slerp", self.weights, n)

    def tensor(self, entry: Entry, known: Any) -> Tensor:
        """Return the mean direction times the mean length; see :meth:`TensorMerger.tensor`."""
        members = [k for k, w in enumerate(known) if w > 0]
        vectors = [entry.tensors[k].reshape(-1) for k in members]
        norms = torch.stack([torch.linalg.vector_norm(v) for v in vectors]).cpu()
        weights = torch.tensor([known[k] for k in members], dtype=torch.float64)
        shares = weights
        if len(vectors[0]) > 1 and float(norms.min()) > 0 and float(norms.max()) < math.inf:
            cosines = cosines_of(vectors, norms)
            direction = karcher_mean(cosines, weights)
            if direction is None:
                i, j = sorted(divmod(int(cosines.argmin()), len(members)))
                raise ValueError(
                    f"The directions of tensor {entry.name!r} have no mean on the sphere: members {members[i]} and "
                    f"{members[j]} are farthest apart, with a cosine of {float(cosines[i, j]):.6g}. Leave one of them "
                    "out, or merge with Uniform()."
                )
            shares = direction * (weights @ norms) / norms
        total = torch.zeros_like(vectors[0])
        for vector, share in zip(vectors, shares.tolist(), strict=True):
            total.add_(vector, alpha=share)
        return total.reshape(entry.tensors[0].shape)


def cosines_of(vectors: Sequence[Tensor], norms: Tensor) -> Tensor:
    """Return the cosine of each two vectors, shape (K, K)."""
    cosines = torch.eye(len(vectors), dtype=torch.float64)
    for i, vector in enumerate(vectors):
        unit = vector / norms[i].item()
        for j in range(i):
            cosines[i, j] = cosines[j, i] = float(unit @ vectors[j]) / norms[j].item()
    return cosines.clamp(-1, 1)


def karcher_mean(cosines: Tensor, weights: Tensor) -> Tensor | None:
    """Return the mean of directions as factors of them, shape (K,), from their cosines; None where there is none."""
    # Coordinates of the directions in the space that they span: lengths of combinations of K directions that depend on
    # each other would be lost to rounding.
    values, axes = torch.linalg.eigh(cosines)
    spanned = values > len(values) * torch.finfo(values.dtype).eps * values.max()
    scales, axes = values[spanned].sqrt(), axes[:, spanned]
    directions = axes * scales
    x, last = weights @ directions, math.inf
    for _ in range(_MAX_STEPS):
        length = float(torch.linalg.vector_norm(x))
        if length < 1e-7:
            return None  # they cancel, up to rounding
        x = x / length
        near = (directions @ x).clamp(-1, 1)
        if float(near.min()) < -1 + 1e-8:
            return None  # one of them is opposite to where we are
        sines = ((1 - near) * (1 + near)).sqrt()
        pull = weights * torch.where(sines > 0, near.arccos() / sines, 1.0)
        along = float(pull @ near)
        step = pull @ directions - along * x
        size = float(torch.linalg.vector_norm(step))
        x = math.cos(size) * x + (math.sin(size) / size if size else 1.0) * step
        if size < 1e-15 or last <= size < 1e-9:  # what is left is rounding
            if along <= 0:
                return None  # x is a peak in the directions that none points to
            factors: Tensor = axes @ (x / scales) + weights - axes @ (axes.T @ weights)
            return factors  # of the directions that are spanned, and of differences too small for a cosine
        last = size
    return None
