"""Fast geometric ensembling (FGE): networks at the lowest learning rates of short cycles (Garipov et al., 2018)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect._recorders import Checkpoints
from skfusion.collect.trajectory._tail import CyclicRate, epochs_of_burn_in, rate_of
from skfusion.nets import Run


@dataclass(eq=False, repr=False)
class FastGeometric(Collector):
    r"""Keep the state in the middle of each short cycle of one run, where the learning rate is lowest.

    After a burn-in the learning rate goes down and up again in cycles of c steps. At step i, counted from 1, it is

    .. math::
        \alpha(t) = (1 - 2t)\,\alpha_1 + 2t\,\alpha_2 \quad (t < \tfrac12), \qquad
        \alpha(t) = (2t - 1)\,\alpha_1 + (2 - 2t)\,\alpha_2 \quad (t \ge \tfrac12), \qquad
        t = \frac{\operatorname{mod}(i - 1, c) + 1}{c}

    so the last step before a state is kept is taken at :math:`\alpha_2`, however few steps an epoch has. The high rates
    drive the network out of where it is, along paths of low loss; the low ones let it settle. The optimiser goes on
    from cycle to cycle with its momenta. In the burn-in the rate is the net's own for the first half, and then goes
    linearly to :math:`\alpha_1` until 90 % of it.

    Parameters
    ----------
    n_members : int, optional
        Networks to keep. The run then ends with the last of them, before or after the net's ``max_epochs``. When
        omitted, the run has ``max_epochs`` epochs, and as many members as cycles reach their middle in them.
    burn_in : float, default=0.8
        Epochs before the first cycle, as a share of the net's ``max_epochs``, below 1.
    cycle : int, default=2
        Epochs of a cycle, of c steps together; an even number, so that its middle is the end of an epoch. Larger ones
        make members more diverse and more expensive.
    lr_max : float, optional
        Learning rate :math:`\alpha_1` at both ends of a cycle; the net's own when omitted.
    lr_min : float, optional
        Learning rate :math:`\alpha_2` in the middle of a cycle; a hundredth of :math:`\alpha_1` when omitted.

    Notes
    -----
    Costs one training, of ``int(burn_in * max_epochs) + (n_members - 1) * cycle + cycle / 2`` epochs where
    ``n_members`` is given, of ``max_epochs`` where not. Statistics of BatchNorm are those of the run, and belong to
    their member. The rate is set by a factor on the net's own, and so on all groups of ``optimizer__param_groups``.

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import FastGeometric
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = FastGeometric(burn_in=0.5).collect(mlp_regressor(max_epochs=8), x, x**2)
    >>> pool.names
    ['fge-epoch-5', 'fge-epoch-7']
    """

    n_members: int | None = None
    burn_in: float = 0.8
    cycle: int = 2
    lr_max: float | None = None
    lr_min: float | None = None

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the one run; see :meth:`Collector.runs`."""
        rate = rate_of(net, "FastGeometric")
        high, low = self._rates(rate)
        keep = self._epochs(net.max_epochs)
        if self.n_members is None and len(keep) == 1:
            warnings.warn(
                f"One cycle of {self.cycle} epochs reaches its middle in the {net.max_epochs} epochs of the net, so "
                "there is one member, and no ensemble. Say how many n_members the run shall go on for, take a smaller "
                "burn_in, or train longer.",
                stacklevel=2,
            )
        (seed,) = draw_seeds(rng, 1, "runs")
        schedule = Triangles(keep[0] - self.cycle // 2, self.cycle, high / rate, low / rate)
        params = {} if self.n_members is None else {"max_epochs": keep[-1]}
        return [Run("fge", seed, schedule=schedule, recorder=partial(Checkpoints, keep), params=params)]

    def _epochs(self, max_epochs: int) -> tuple[int, ...]:
        """Return the epochs in the middle of the cycles."""
        burn_in = epochs_of_burn_in(self.burn_in, max_epochs)
        if not isinstance(self.cycle, Integral) or self.cycle < 2 or self.cycle % 2:
            raise ValueError(
                f"cycle must be an even number of epochs, at least 2, as members are kept in the middle of one; got "
                f"{self.cycle!r}."
            )
        first = burn_in + self.cycle // 2
        if self.n_members is not None:
            if not isinstance(self.n_members, Integral) or self.n_members < 1:
                raise ValueError(f"n_members must be a whole number of at least 1; got {self.n_members!r}.")
            return tuple(first + i * self.cycle for i in range(self.n_members))
        if first > max_epochs:
            raise ValueError(
                f"No cycle of {self.cycle} epochs reaches its middle in the {max_epochs} epochs of the net, of which "
                f"{burn_in} are burn-in; train longer, take a smaller burn_in or a shorter cycle, or say how "
                "many n_members the run shall go on for."
            )
        return tuple(range(first, max_epochs + 1, self.cycle))

    def _rates(self, rate: float) -> tuple[float, float]:
        """Return the highest and the lowest learning rate of a cycle."""
        high = rate if self.lr_max is None else self.lr_max
        low = high / 100 if self.lr_min is None else self.lr_min
        if not (0 <= low <= high < math.inf):
            raise ValueError(f"Rates must be finite, with 0 <= lr_min <= lr_max; got lr_min={low}, lr_max={high}.")
        return high, low

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_members": 2, "burn_in": 0.5}
        yield {"n_members": 3, "lr_max": 0.02, "lr_min": 0.002}


class Triangles(CyclicRate):
    """From the high rate down to the low one, and up again."""

    def in_cycle(self, t: float) -> float:
        """Return the factor; see :meth:`CyclicRate.in_cycle`."""
        away = abs(1 - 2 * t)  # from the middle of the cycle: 1 at its ends
        return away * self.high + (1 - away) * self.low
