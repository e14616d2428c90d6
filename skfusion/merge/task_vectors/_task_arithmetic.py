"""Task arithmetic (Ilharco et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from skfusion.merge._base import GRID, LinearOnGrid, factors


@dataclass(eq=False, repr=False)
class TaskArithmetic(LinearOnGrid):
    r"""Add to the base what fine-tuning has changed in each member.

    .. math:: \theta = \theta_0 + \lambda \sum_k w_k (\theta_k - \theta_0)

    A task is forgotten with a negative scale. The analogy *c and b without a*, :math:`\theta_c + (\theta_b -
    \theta_a)`, is ``TaskArithmetic(scale=1, weights=[-1, 1, 1])`` of the members a, b and c.

    Parameters
    ----------
    scale : float or None, default=0.3
        The factor λ of the sum of the changes. A larger value goes further from the base: 0 is the base, and 1 gives
        a single member back. None takes the value of the grid with the highest held-out score.
    weights : float or sequence of float, optional
        Factor of each member's change, shape (K,), or one for all, of any sign and not normalised. A larger value
        brings more of that member. All 1 when omitted.
    grid : sequence of float, default=(0, 0.05, ..., 1)
        The values that are tried where ``scale`` is None; the first one of equal scores is taken.

    Notes
    -----
    Costs O(K d) for d parameters and memory for one extra state, and one evaluation a value of the grid. The default
    scale is the customary one for eight tasks (Yang et al., 2024); fewer tasks bear more, a single one up to 1. The
    scale that is chosen is reported as ``scale``, and all scores as ``scale_scores``.

    References
    ----------
    Ilharco et al., "Editing models with task arithmetic", ICLR 2023, arXiv:2212.04089.
    Yang et al., "AdaMerging: adaptive model merging for multi-task learning", ICLR 2024, arXiv:2310.02575.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import TaskArithmetic
    >>> base = {"w": torch.tensor([1.0, 1.0])}
    >>> states = [{"w": torch.tensor([2.0, 1.0])}, {"w": torch.tensor([1.0, 3.0])}]
    >>> TaskArithmetic(scale=0.5)(states, base)["w"].tolist()
    [1.5, 2.0]
    >>> TaskArithmetic(scale=-1)(states[1:], base)["w"].tolist()
    [1.0, -1.0]
    """

    scale: float | None = 0.3
    weights: float | Sequence[float] | None = None
    grid: Sequence[float] = GRID

    why_copies_change: ClassVar[str] = "only a share of the change is added, and the changes of copies add up"

    def _at_value(self, value: float, n: int) -> list[float]:
        return [value * w for w in factors("TaskArithmetic", self.weights, n)]
