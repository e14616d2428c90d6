"""How similar the units of two networks are, accumulated batch by batch.

Up to rounding, the result depends neither on the sizes of the batches nor on their order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor


class Evidence(ABC):
    """What has been observed of some units of a reference and of a state."""

    needs_keys: ClassVar[bool] = False
    """Whether values need keys, by which some of them are sampled."""

    @abstractmethod
    def add(self, a: Tensor, b: Tensor, weight: Tensor | None = None, keys: np.ndarray | None = None) -> None:
        """Add activations of shape (n_combinations, n_units, n_values), with a weight and a key for each value."""

    @abstractmethod
    def similarity(self) -> np.ndarray | None:
        """Return similarities, shape (n_combinations, n_units, n_units), or None where nothing was observed."""


class _Moments(Evidence):
    """Means, squares and products of deviations in float64, merged from those of each batch (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.n = 0.0

    def add(self, a: Tensor, b: Tensor, weight: Tensor | None = None, keys: np.ndarray | None = None) -> None:
        n = float(a.shape[-1] if weight is None else weight.sum(dtype=torch.float64))
        if not n:
            return
        both = [x if x.dtype is torch.float64 else x.float() for x in (a, b)]
        near = [x.mean(-1, keepdim=True) for x in both]  # subtracted first, as a large mean would cost precision
        gaps = [x - centre for x, centre in zip(both, near, strict=True)]
        weighted = gaps if weight is None else [gap * weight.to(gap) for gap in gaps]
        rest = [x.sum(-1, dtype=torch.float64) / n for x in weighted]
        means = [centre[..., 0].double() + r for centre, r in zip(near, rest, strict=True)]
        squares = [
            (w * gap).sum(-1, dtype=torch.float64) - n * r.square()
            for w, gap, r in zip(weighted, gaps, rest, strict=True)
        ]
        products = (weighted[0] @ gaps[1].mT).double() - n * _outer(*rest)
        if not self.n:
            self.n, self.means, self.squares, self.products = n, means, squares, products
            return
        total = self.n + n
        moved = [new - old for new, old in zip(means, self.means, strict=True)]
        share = self.n * n / total
        self.means = [old + m * (n / total) for old, m in zip(self.means, moved, strict=True)]
        self.squares = [
            old + new + share * m.square() for old, new, m in zip(self.squares, squares, moved, strict=True)
        ]
        self.products = self.products + products + share * _outer(*moved)
        self.n = total


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a.unsqueeze(-1) * b.unsqueeze(-2)


class SquaredDistance(_Moments):
    r"""The mean product about a common origin, :math:`\operatorname{Cov}(a_i, b_j) - (\bar a_i - \bar b_j)^2 / 2`.

    Up to terms of single units, which all assignments share, it is the mean product, and minus half the squared
    distance.
    """

    def similarity(self) -> np.ndarray | None:
        if not self.n:
            return None
        apart = self.means[0].unsqueeze(-1) - self.means[1].unsqueeze(-2)
        return (self.products / self.n - apart.square() / 2).cpu().numpy()


class Distance(_Moments):
    r"""Minus the distance of two units over the data, :math:`-\sqrt{E[(a_i - b_j)^2]}`."""

    def similarity(self) -> np.ndarray | None:
        if not self.n:
            return None
        apart = self.means[0].unsqueeze(-1) - self.means[1].unsqueeze(-2)
        spread = self.squares[0].unsqueeze(-1) + self.squares[1].unsqueeze(-2) - 2 * self.products
        return -(spread / self.n + apart.square()).clamp_min(0).sqrt().cpu().numpy()


class Correlation(_Moments):
    r"""The correlation, :math:`E[(a_i - \bar a_i)(b_j - \bar b_j)] / (\sigma_i \sigma_j)`; zero for dead units."""

    def similarity(self) -> np.ndarray | None:
        if not self.n:
            return None
        spreads = [(q / self.n).clamp_min(0).sqrt() for q in self.squares]
        # a spread that is no larger than the rounding of the values counts as none
        dead = [s <= 1e-6 * m.abs() for s, m in zip(spreads, self.means, strict=True)]
        inverse = [torch.where(d, 0.0, 1 / s) for s, d in zip(spreads, dead, strict=True)]
        return (self.products / self.n * _outer(*inverse)).cpu().numpy()


class MutualInformation(Evidence):
    r"""The mutual information :math:`\sum p(a, b) \log [p(a, b) / (p(a) p(b))]`, in nats, over bins of equal weights.

    The bins lie between deciles of each unit, so that monotone maps of a unit change nothing. Where many values are
    equal, as after a ReLU, bins coincide. Of more than 5000 values of a unit those with the smallest keys are used:
    keys are hashes, so this is a random sample that does not depend on how the data is cut or ordered. Values with one
    key come from equal samples, and count once with the sum of their weights.
    """

    needs_keys: ClassVar[bool] = True
    n_bins, n_values = 10, 5000

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.keys: np.ndarray = np.empty(0, np.uint64)
        self.mass: np.ndarray = np.empty(0)

    def add(self, a: Tensor, b: Tensor, weight: Tensor | None = None, keys: np.ndarray | None = None) -> None:
        assert keys is not None
        mass = np.ones(len(keys)) if weight is None else weight.double().cpu().numpy()
        new = np.arange(len(keys)) if len(self.keys) < self.n_values else np.flatnonzero(keys <= self.keys[-1])
        self.keys, first, place = np.unique(
            np.concatenate([self.keys, keys[new]]), return_index=True, return_inverse=True
        )
        n_old = len(self.mass)
        self.mass = np.bincount(place, np.concatenate([self.mass, mass[new]]))[: self.n_values]
        self.keys, first = self.keys[: self.n_values], first[: self.n_values]
        old, fresh = first[first < n_old], new[first[first >= n_old] - n_old]
        order = np.argsort(np.argsort(first >= n_old, kind="stable"))  # from (old ones, new ones) to the order of keys
        taken = [x[..., torch.from_numpy(fresh).to(x.device)] for x in (a, b)]
        if self.parts:
            kept = (part[..., torch.from_numpy(old).to(part.device)] for part in self.parts)
            taken = [torch.cat(pair, -1) for pair in zip(kept, taken, strict=True)]
        self.parts = [x[..., torch.from_numpy(order).to(x.device)] for x in taken]

    def similarity(self) -> np.ndarray | None:
        if not len(self.keys):
            return None
        share = torch.from_numpy(self.mass / self.mass.sum()).to(self.parts[0].device)
        a, b = (self._bins(x, share) for x in self.parts)
        return torch.stack([self._information(x, y, share) for x, y in zip(a, b, strict=True)]).cpu().numpy()

    def _bins(self, values: Tensor, share: Tensor) -> Tensor:
        """Return one-hot bins, shape (n_combinations, n_units, n_bins, n_values)."""
        ordered, order = values.sort(-1)
        below = share[order].cumsum(-1)
        deciles = torch.arange(1, self.n_bins, device=values.device).double() / self.n_bins - 1e-12
        places = torch.searchsorted(below, deciles.expand(*below.shape[:-1], -1).contiguous())
        edges = ordered.gather(-1, places)
        index = (values.unsqueeze(-2) > edges.unsqueeze(-1)).sum(-2)
        return torch.nn.functional.one_hot(index, self.n_bins).mT.float()

    def _information(self, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
        """Return the information of all pairs of units, from bins of shape (n_units, n_bins, n_values)."""
        share, flat = share.float(), b.flatten(0, 1)
        p_a, p_b = a @ share, b @ share
        rows = []
        for bins, p_bins in zip(a * share, p_a, strict=True):
            joint = (bins @ flat.mT).unflatten(1, b.shape[:2]).transpose(0, 1)  # shape: (n_units, n_bins, n_bins)
            independent = p_bins.unsqueeze(-1) * p_b.unsqueeze(-2)
            rows.append(torch.special.xlogy(joint, joint / independent.clamp_min(1e-12)).sum((-2, -1)))
        return torch.stack(rows).double()


MEASURES: dict[str, type[Evidence]] = {
    "correlation": Correlation,
    "l2": SquaredDistance,
    "mutual_information": MutualInformation,
}
