"""Task arithmetic (Ilharco et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from skfusion.merge._base import LinearMerger, check_states
from skfusion.merge._scale import GRID, best_on_grid
from skfusion.objective import Objective
from skfusion.state import State


class TaskArithmetic(LinearMerger):
    r"""Add to the base what fine-tuning has changed in each member.

    .. math:: \theta = \theta_0 + \lambda \sum_k w_k (\theta_k - \theta_0)

    A task is forgotten with a negative scale. The analogy *c and b without a*, :math:`\theta_c + (\theta_b -
    \theta_a)`, is ``TaskArithmetic(scale=1, weights=[-1, 1, 1])`` of the members a, b and c.

    Parameters
    ----------
    scale : float or None, default=0.3
        The factor λ of the sum of the changes. A larger value goes further from the base: 0 is the base, and 1 gives
        a single member back. None takes the value of the grid with the highest held-out score.
    weights : sequence of float, optional
        Factor of each member's change, shape (K,), of any sign and not normalised. A larger value brings more of that
        member. All 1 when omitted.
    grid : sequence of float, default=(0, 0.05, ..., 1)
        The values that are tried where ``scale`` is None. More of them cost one evaluation each; the first one of
        equal scores is taken.

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

    needs_base: ClassVar[bool] = True

    def __init__(self, scale: float | None = 0.3, weights: Sequence[float] | None = None, grid: Sequence[float] = GRID):
        self.scale = scale
        self.weights = weights
        self.grid = grid

    @property
    def needs_objective(self) -> bool:  # type: ignore[override]
        """Whether the scale is chosen on data."""
        return self.scale is None

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]
        """Whether the scale is chosen on held-out rows."""
        return self.scale is None

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return the scale times the weights; see :meth:`LinearMerger.coefficients`."""
        weights = [1.0] * len(states) if self.weights is None else [float(w) for w in self.weights]
        if len(weights) != len(states) or not all(map(math.isfinite, weights)):
            raise ValueError(f"TaskArithmetic wants a finite weight for each of {len(states)} members; got {weights}.")
        if self.scale is not None and not math.isfinite(self.scale):
            raise ValueError(f"The scale of TaskArithmetic must be a finite number, or None; got {self.scale}.")
        scale = self._best(states, base, objective, weights) if self.scale is None else float(self.scale)
        return [scale * w for w in weights]

    def _best(
        self, states: Sequence[State], base: State | None, objective: Objective | None, weights: list[float]
    ) -> float:
        check_states(self, states, base)

        def state_at(scale: float) -> State:
            return self.combine(states, [scale * w for w in weights], base)

        return best_on_grid("TaskArithmetic", "scale", self.grid, state_at, objective)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"scale": None, "grid": (0.2, 0.6)}

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        reason = "only a share of the change is added, and the changes of copies add up"
        return dict.fromkeys(("check_merge_of_copies_is_the_copy", "check_one_member_gives_that_member"), reason)
