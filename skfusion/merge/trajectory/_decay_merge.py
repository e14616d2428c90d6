"""Imitate a decay of the learning rate by merging checkpoints (WSM, Tian et al., 2025; PMA, Li et al., 2025)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

from skfusion.merge._base import LinearMerger
from skfusion.objective import Objective
from skfusion.state import State

DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda u: 1 - u,
    "cosine": lambda u: (1 + math.cos(math.pi * u)) / 2,
    "1-sqrt": lambda u: 1 - math.sqrt(u),
}
"""Factors on the learning rate by the share of the decay that has passed."""


class DecayMerge(LinearMerger):
    r"""Merge checkpoints of a run at constant learning rate as if the rate had decayed (WSM, PMA: decay-free merging).

    Between the checkpoints :math:`\theta_0, ..., \theta_k`, in their order, lie k updates. With factors
    :math:`1 \ge w_1 \ge ... \ge w_k \ge 0` on them, as a decaying rate would have, the run would have ended at

    .. math:: \theta_0 + \sum_{i=1}^k w_i (\theta_i - \theta_{i-1}) = \sum_{j=0}^k c_j \theta_j, \qquad
        c_0 = 1 - w_1, \quad c_j = w_j - w_{j+1}, \quad c_k = w_k

    where :math:`w_i = f(i / (k + 1))` for a decay f.

    Parameters
    ----------
    decay : {"linear", "cosine", "1-sqrt"} or callable, default="linear"
        The factor on the learning rate, from 1 at the first checkpoint to 0 after the last one: 1 - u of the share u,
        (1 + cos πu) / 2, 1 - √u, or ``decay(u)``, which must lie in [0, 1] and never rise. The linear one is the plain
        mean; the cosine counts the middle for most, the square root the early ones. One that stays at 1 gives the last
        checkpoint, one at 0 the first.

    Notes
    -----
    Costs O(K d) for K checkpoints of d parameters; nothing is trained. It is what the decay would have given if the
    gradients had stayed what they were on the way, which they would not. The rate between the checkpoints should be
    constant, as ``Tail()`` leaves it; where it is cyclic, as with ``Snapshots()``, what is imitated is a decay over the
    cycles. Checkpoints at long intervals imitate a decay in steps. WSM finds that the length of the window matters more
    than the decay or the number of checkpoints, which is what ``Tail(burn_in, every)`` sets.

    References
    ----------
    Tian et al., "WSM: decay-free learning rate schedule via checkpoint merging for LLM pre-training", 2025,
    arXiv:2507.17634. Li et al., "Model merging in pre-training of large language models", 2025, arXiv:2505.12082.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import DecayMerge
    >>> run = [{"w": torch.tensor([v])} for v in (0.0, 4.0, 6.0, 7.0)]
    >>> [round(c, 3) for c in DecayMerge("1-sqrt").coefficients(run)]
    [0.5, 0.207, 0.159, 0.134]
    >>> round(DecayMerge("1-sqrt")(run)["w"].item(), 3)  # 4 * 0.5 + 2 * 0.293 + 1 * 0.134
    2.72
    """

    order_dependent: ClassVar[bool] = True
    _test_sets = ({}, {"decay": "1-sqrt"})

    def __init__(self, decay: str | Callable[[float], float] = "linear"):
        self.decay = decay

    def for_members(self, metas: Sequence[Mapping[str, Any]]) -> Self:
        """Return the merger, or raise where they are no checkpoints in order; see :meth:`Merger.for_members`."""
        times = [(meta["epoch"], meta.get("step", 0)) for meta in metas if "epoch" in meta]
        known = len(times) == len(metas) > 1
        if known and (times != sorted(times) or len({*times}) == 1):  # the latter are ends of several runs
            epochs = [epoch for epoch, _ in times]
            raise ValueError(
                f"DecayMerge takes the checkpoints of one run in the order in which they came, and these are of the "
                f"epochs {epochs}. Collect with Tail(), or sort the members of the pool."
            )
        return self

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return what the decay makes each checkpoint count for; see :meth:`LinearMerger.coefficients`."""
        w = [1.0, *self._factors(len(states)), 0.0]
        return [before - after for before, after in pairwise(w)]

    def _factors(self, n: int) -> list[float]:
        """Return the factors of the updates between n checkpoints."""
        decay = DECAYS.get(self.decay) if isinstance(self.decay, str) else self.decay
        if not callable(decay):
            raise ValueError(f"decay must be one of {', '.join(map(repr, DECAYS))}, or a function; got {self.decay!r}.")
        factors = [float(decay(i / n)) for i in range(1, n)]
        if not all(0 <= b <= a for a, b in zip([1.0, *factors], factors, strict=False)):  # which NaN is not
            shown = ", ".join(f"{w:.4g}" for w in factors[:12]) + (", ..." if len(factors) > 12 else "")
            raise ValueError(
                f"A decay must lie between 0 and 1 and never rise, so that checkpoints have shares of at least 0; "
                f"{self!r} gives the {n - 1} updates between {n} checkpoints the factors {shown}."
            )
        return factors
