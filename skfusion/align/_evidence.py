"""How alike the units of two networks are, gathered batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor


class Evidence(ABC):
    """What has been seen of some units of a reference and of a state."""

    @abstractmethod
    def add(self, a: Tensor, b: Tensor) -> None:
        """Look at activations of shape (n_combinations, n_units, n_values)."""

    @abstractmethod
    def worth(self) -> np.ndarray | None:
        """Return how alike the units are, shape (n_combinations, n_units, n_units); none where nothing was seen."""


class InnerProduct(Evidence):
    r"""The mean product, :math:`E[a_i b_j]`: its largest sum is the least squared distance."""

    def __init__(self) -> None:
        self.n, self.sum = 0, torch.zeros(())

    def add(self, a: Tensor, b: Tensor) -> None:
        """See :meth:`Evidence.add`."""
        self.n += a.shape[-1]
        self.sum = self.sum.to(a.device) + (a @ b.mT).double()

    def worth(self) -> np.ndarray | None:
        """See :meth:`Evidence.worth`."""
        return (self.sum / self.n).cpu().numpy() if self.n else None


class Correlation(Evidence):
    r"""The correlation, :math:`E[(a_i - \bar a_i)(b_j - \bar b_j)] / (\sigma_i \sigma_j)`; zero for dead units.

    Activations are taken from the mean of the first batch, so that a large mean does not use up their digits.
    """

    def __init__(self) -> None:
        self.n = 0

    def add(self, a: Tensor, b: Tensor) -> None:
        """See :meth:`Evidence.add`."""
        if not self.n:
            self.shift = [x.mean(-1, keepdim=True) for x in (a, b)]
            self.sums = [torch.zeros_like(x[..., 0], dtype=torch.float64) for x in (a, b)]
            self.squares = [torch.zeros_like(x) for x in self.sums]
            self.products = (a[..., :1] @ b[..., :1].mT).double().zero_()
        a, b = (x - shift for x, shift in zip((a, b), self.shift, strict=True))
        self.n += a.shape[-1]
        for k, x in enumerate((a, b)):
            self.sums[k] += x.sum(-1, dtype=torch.float64)
            self.squares[k] += x.square().sum(-1, dtype=torch.float64)
        self.products += (a @ b.mT).double()

    def worth(self) -> np.ndarray | None:
        """See :meth:`Evidence.worth`."""
        if not self.n:
            return None
        means = [s / self.n for s in self.sums]
        spreads = [(q / self.n - m.square()).clamp_min(0).sqrt() for q, m in zip(self.squares, means, strict=True)]
        # a spread within rounding of the values is none
        dead = [s <= 1e-6 * shift[..., 0].abs() for s, shift in zip(spreads, self.shift, strict=True)]
        inverse = [torch.where(d | (s == 0), 0.0, 1 / s) for s, d in zip(spreads, dead, strict=True)]
        together = self.products / self.n - means[0].unsqueeze(-1) * means[1].unsqueeze(-2)
        return (together * inverse[0].unsqueeze(-1) * inverse[1].unsqueeze(-2)).cpu().numpy()


class MutualInformation(Evidence):
    r"""The mutual information :math:`\sum p(a, b) \log [p(a, b) / (p(a) p(b))]`, in nats, over bins of equal counts.

    The bins are between deciles of each unit, so that monotone maps of a unit change nothing. Where many values are
    equal, as behind a ReLU, bins fall together. Of more than 5000 values of a unit, some all over the data are taken.
    """

    n_bins, n_values = 10, 5000

    def __init__(self) -> None:
        self.parts: list[Tensor] = []

    def add(self, a: Tensor, b: Tensor) -> None:
        """See :meth:`Evidence.add`."""
        step = max(1, a.shape[-1] // self.n_values)
        new = [x[..., ::step] for x in (a, b)]
        self.parts = [torch.cat(pair, -1) for pair in zip(self.parts, new, strict=True)] if self.parts else new
        while self.parts[0].shape[-1] > 4 * self.n_values:
            self.parts = [x[..., ::2] for x in self.parts]

    def worth(self) -> np.ndarray | None:
        """See :meth:`Evidence.worth`."""
        if not self.parts:
            return None
        step = -(-self.parts[0].shape[-1] // self.n_values)
        a, b = (self._bins(x[..., ::step]) for x in self.parts)
        return torch.stack([self._information(x, y) for x, y in zip(a, b, strict=True)]).cpu().numpy()

    def _bins(self, values: Tensor) -> Tensor:
        """Return one-hot bins, shape (n_combinations, n_units, n_bins, n_values)."""
        ranks = torch.linspace(0, values.shape[-1] - 1, self.n_bins + 1, device=values.device)[1:-1].long()
        edges = values.sort(-1).values[..., ranks]
        index = (values.unsqueeze(-2) > edges.unsqueeze(-1)).sum(-2)
        return torch.nn.functional.one_hot(index, self.n_bins).mT.float()

    def _information(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the information of units of shapes (n_units, n_bins, n_values), unit by unit of the first."""
        n, flat = a.shape[-1], b.flatten(0, 1)
        p_a, p_b = a.mean(-1), b.mean(-1)
        rows = []
        for bins, own in zip(a, p_a, strict=True):
            joint = (bins @ flat.mT / n).unflatten(1, b.shape[:2]).transpose(0, 1)  # shape: (n_units, n_bins, n_bins)
            apart = own.unsqueeze(-1) * p_b.unsqueeze(-2)
            rows.append(torch.special.xlogy(joint, joint / apart.clamp_min(1e-12)).sum((-2, -1)))
        return torch.stack(rows).double()


MEASURES: dict[str, type[Evidence]] = {
    "correlation": Correlation,
    "l2": InnerProduct,
    "mutual_information": MutualInformation,
}
