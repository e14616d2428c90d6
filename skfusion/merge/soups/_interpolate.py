"""Interpolation of the base and its fine-tunes (Wortsman et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from skfusion.merge._base import GRID, LinearOnGrid


class Interpolate(LinearOnGrid):
    r"""Go part of the way from the base to the mean of the members.

    .. math:: \theta = (1 - t)\, \theta_0 + t\, \tfrac{1}{K} \sum_k \theta_k

    Parameters
    ----------
    t : float or None, default=0.5
        How far to go, from 0 (the base) to 1 (the mean). A larger value keeps more of what was learned last. None
        takes the value of the grid with the highest held-out score.
    grid : sequence of float, default=(0, 0.05, ..., 1)
        The values that are tried where ``t`` is None; the first one of equal scores is taken.

    Notes
    -----
    Costs O(K d) for d parameters and memory for one extra state, and one evaluation a value of the grid. It is known as
    WiSE-FT: fine-tunes keep what the base knows of data that differ from theirs. Held-out rows that resemble the
    training rows do not show this, and favour a large ``t``. The value that is chosen is reported as ``t``, and all
    scores as ``t_scores``.

    References
    ----------
    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv:2109.01903.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import Interpolate
    >>> base = {"w": torch.tensor([0.0])}
    >>> states = [{"w": torch.tensor([2.0])}, {"w": torch.tensor([6.0])}]
    >>> Interpolate()(states, base)["w"].item()
    2.0
    """

    on_grid: ClassVar[str] = "t"
    why_copies_change: ClassVar[str] = "a share of the base stays in the result"

    def __init__(self, t: float | None = 0.5, grid: Sequence[float] = GRID):
        self.t = t
        self.grid = grid

    def _at_value(self, value: float, n: int) -> list[float]:
        return [value / n] * n

    def _check(self, n: int) -> None:
        wrong = [t for t in (self.grid if self.t is None else [self.t]) if not 0 <= t <= 1]
        if wrong:
            raise ValueError(f"Interpolate goes from t=0 to t=1, and got {wrong[0]}; TaskArithmetic goes beyond.")
