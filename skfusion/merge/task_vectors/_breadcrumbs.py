"""Model breadcrumbs (Davari & Belilovsky, 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from skfusion.merge._base import GRID, OnGrid, factors, one_each
from skfusion.merge._tensorwise import Entry, TensorMerger, base_of, task_vectors


@dataclass(eq=False, repr=False)
class Breadcrumbs(OnGrid, TensorMerger):
    r"""Add up what the members have changed, without the largest and the smallest changes of each tensor.

    .. math:: \theta = \theta_0 + \lambda \sum_k w_k \, m_k \odot (\theta_k - \theta_0)

    where :math:`m_k` is 0 for the ``gamma`` n largest of a tensor's n changes, 1 for the ``density`` n that follow,
    and 0 for the rest.

    Parameters
    ----------
    density : float or sequence of float, default=0.1
        Share of a tensor's numbers that is kept, in (0, 1]; of a small tensor one number at least. One for all, or one
        for each of the K members. A larger value keeps more small changes.
    gamma : float or sequence of float, default=0.01
        Share of a tensor's numbers that is left out as too large, in [0, 1); one for all, or one for each member. A
        larger value leaves out more of what changed most.
    scale : float or None, default=0.3
        The factor λ of the sum. A larger value goes further from the base. None takes the value of the grid with the
        highest held-out score.
    weights : float or sequence of float, optional
        Factor of each member's change, shape (K,), or one for all, of any sign and not normalised. A larger value
        brings more of that member. All 1 when omitted.
    grid : sequence of float, default=(0, 0.05, ..., 1)
        The values that are tried where ``scale`` is None; the first one of equal scores is taken.

    Notes
    -----
    Costs O(K d), a selection in each tensor, and where the scale is chosen, as much again and an evaluation for each
    value of the grid; it is then reported as ``scale``, and all scores as ``scale_scores``. The paper names the
    quantiles between which changes are kept, about 0.9 and 0.99; ``density`` and ``gamma`` are named as in mergekit,
    and ``density + gamma`` is at most 1. A number that is as large as a bound is kept. The authors' code selects in
    each row of a tensor instead of in the tensor.

    References
    ----------
    Davari & Belilovsky, "Model breadcrumbs: scaling multi-task model merging with sparse masks", ECCV 2024,
    arXiv:2312.06795.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import Breadcrumbs
    >>> base, member = {"w": torch.zeros(5)}, {"w": torch.tensor([9.0, -3.0, 2.0, 1.0, 0.0])}
    >>> Breadcrumbs(density=0.4, gamma=0.2, scale=1)([member], base)["w"].tolist()
    [0.0, -3.0, 2.0, 0.0, 0.0]
    """

    density: float | Sequence[float] = 0.1
    gamma: float | Sequence[float] = 0.01
    scale: float | None = 0.3
    weights: float | Sequence[float] | None = None
    grid: Sequence[float] = GRID

    needs_base: ClassVar[bool] = True
    why_copies_change: ClassVar[str] = "small and large changes are left out, and the changes of copies add up"

    def survey(self, read: Callable[[], Iterable[Entry]], n: int) -> None:
        """Raise where parameters make no sense; see :meth:`TensorMerger.survey`."""
        if not all(density > 0 and gamma >= 0 and density + gamma <= 1 for _, density, gamma in self._of_each(n)):
            raise ValueError(
                "Breadcrumbs keeps a density above 0 after a share gamma of 0 or more, which are at most 1 together; "
                f"got density={self.density} and gamma={self.gamma}."
            )
        self._number()

    def tensor(self, entry: Entry, known: Any) -> Tensor:
        """Return the base and the scaled sum of what is kept; see :meth:`TensorMerger.tensor`."""
        scale: float = self._number()
        total = torch.zeros_like(base_of(entry))
        changes = task_vectors(entry)
        for tau, (weight, density, gamma) in zip(changes, self._of_each(len(changes)), strict=True):
            total += weight * middle(tau, density, gamma)
        return base_of(entry) + scale * total

    def _of_each(self, n: int) -> Iterator[tuple[float, float, float]]:
        """Iterate over weight, density and gamma of n members."""
        shares = (one_each("Breadcrumbs", name, getattr(self, name), n) for name in ("density", "gamma"))
        return zip(factors("Breadcrumbs", self.weights, n), *shares, strict=True)


def middle(tau: Tensor, density: float, gamma: float) -> Tensor:
    """Return a tensor with zeros for its largest and smallest numbers; ties with a bound stay."""
    n = tau.numel()
    if not n:
        return tau
    kept = max(1, round(density * n))
    out = min(round(gamma * n), n - kept)
    sizes = tau.abs().reshape(-1)
    low, high = (sizes.kthvalue(place).values for place in (n - out - kept + 1, n - out))
    return torch.where((tau.abs() >= low) & (tau.abs() <= high), tau, 0.0)
