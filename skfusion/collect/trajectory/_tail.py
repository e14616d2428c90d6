"""SWA, tail averaging, LAWA: checkpoints along the tail of one run (Polyak, 1992; Izmailov et al., 2018)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.average import burn_in_of
from skfusion.collect._base import Collector
from skfusion.collect._recorders import Checkpoints, LastStates
from skfusion.nets import Run


@dataclass(eq=False, repr=False)
class Tail(Collector):
    r"""Keep checkpoints of one run after a burn-in; their uniform mean is stochastic weight averaging (SWA).

    After the burn-in the learning rate is constant, or falls from :math:`\alpha_1` to :math:`\alpha_2` in every cycle
    of c steps between two checkpoints: at step i, counted from 1,

    .. math:: \alpha(i) = (1 - t)\,\alpha_1 + t\,\alpha_2, \qquad t = \frac{\operatorname{mod}(i - 1, c) + 1}{c}

    Before, it is the net's own for the first half of the burn-in and goes linearly to :math:`\alpha_1` until 90 % of
    it. With ``lr="net"`` the rate is at all times what the net and its callbacks make it, and the checkpoints are those
    of the last epochs that there are.

    Parameters
    ----------
    burn_in : float, default=0.75
        Epochs before the first cycle, as a share of the net's ``max_epochs``, below 1. The usual choice of tail
        averaging is 0.5; 0 is Polyak averaging.
    every : int, default=1
        Epochs between checkpoints.
    lr : float or "net", optional
        Learning rate :math:`\alpha_1` after the burn-in; the net's own when omitted. A larger one explores more.
        ``"net"`` leaves the rate alone, so that a schedule of the net, such as a rate that is annealed, is followed.
    lr_end : float, optional
        Learning rate :math:`\alpha_2` at the end of each cycle; constant at ``lr`` when omitted. Not with ``lr="net"``.
    last : int, optional
        Keep only that many latest checkpoints (LAWA); all when omitted.

    Notes
    -----
    Costs one training and one copy of the state for each checkpoint. The rate is set by a factor on the net's own,
    and so on all groups of ``optimizer__param_groups``.

    With ``lr="net"`` checkpoints are counted from the end of the run, wherever that is: members are called by their
    place, of which ``tail-last-1`` is the last, and ``meta["epoch"]`` says after which epoch they were. Where early
    stopping ends the run, as many are kept as in a run of ``max_epochs``, or all where there are fewer. The last member
    is the network as the training leaves it: the best one, where early stopping loads that. Memory holds a checkpoint
    an epoch, whatever ``every`` is, as the end is not known before.

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
    arXiv:1803.05407. Jain et al., "Parallelizing stochastic gradient descent for least squares regression", JMLR 18,
    2018, arXiv:1610.03774. Kaddour, "Stop wasting my time! Saving days of ImageNet and BERT training with latest
    weight averaging", 2022, arXiv:2209.14981.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Tail
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Tail(burn_in=0.5, every=2).collect(mlp_regressor(max_epochs=8), x, x**2)
    >>> pool.names
    ['tail-epoch-6', 'tail-epoch-8']

    Under the schedule of the net:

    >>> from skfusion.nets import tabular_regressor
    >>> pool = Tail(burn_in=0.5, lr="net").collect(tabular_regressor(max_epochs=4), x, x**2)
    >>> {member.name: member.meta["epoch"] for member in pool}
    {'tail-last-2': 3, 'tail-last-1': 4}
    """

    burn_in: float = 0.75
    every: int = 1
    lr: float | str | None = None
    lr_end: float | None = None
    last: int | None = None

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the one run; see :meth:`Collector.runs`."""
        burn_in = epochs_of_burn_in(self.burn_in, net.max_epochs)
        keep = tuple(range(burn_in + self.every, net.max_epochs + 1, self.every)) if self.every >= 1 else ()
        if not keep:
            raise ValueError(
                f"No checkpoint falls after the burn-in of {burn_in} of the net's {net.max_epochs} epochs with "
                f"every={self.every}; train longer, take a smaller burn_in, or set every to at least 1 and at most "
                f"{net.max_epochs - burn_in}."
            )
        if self.last is not None and self.last < 1:
            raise ValueError(f"last must be at least 1; got {self.last}.")
        schedule = self._schedule(net, burn_in)
        kept = keep[-(self.last or len(keep)) :]
        recorder = partial(LastStates, len(kept), self.every) if schedule is None else partial(Checkpoints, kept)
        (seed,) = draw_seeds(rng, 1, "runs")
        return [Run("tail", seed, schedule=schedule, recorder=recorder)]

    def _schedule(self, net: Any, burn_in: int) -> TailRate | None:
        """Return the factor on the learning rate; None where the rate is left to the net."""
        if isinstance(self.lr, str):
            if self.lr != "net" or self.lr_end is not None:
                raise ValueError(
                    f"lr is a number, or 'net' without lr_end for the net's own schedule; got lr={self.lr!r} and "
                    f"lr_end={self.lr_end!r}."
                )
            return None
        rate = 1.0 if self.lr is self.lr_end is None else rate_of(net, "Tail")
        high = 1.0 if self.lr is None else self.lr / rate
        low = high if self.lr_end is None else self.lr_end / rate
        return TailRate(burn_in, self.every, high, low)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"burn_in": 0.5}
        yield {"burn_in": 0.5, "every": 2, "lr": 0.02, "lr_end": 0.002}
        yield {"burn_in": 0.5, "lr": "net"}


@dataclass(frozen=True)
class CyclicRate(ABC):
    """The factor on the learning rate at a step, with a burn-in and then cycles, both in epochs.

    It is 1 for half of the burn-in, and goes linearly to ``high`` until 90 % of it.
    """

    burn_in: int
    every: int
    high: float
    low: float

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        done, length = step - self.burn_in * steps_per_epoch, self.every * steps_per_epoch
        if done >= 0:
            return self.in_cycle((done % length + 1) / length)
        t = min(max((step / (self.burn_in * steps_per_epoch) - 0.5) / 0.4, 0.0), 1.0)
        return (1 - t) + t * self.high

    @abstractmethod
    def in_cycle(self, t: float) -> float:
        """Return the factor at a share of a cycle, above 0 and at most 1."""


class TailRate(CyclicRate):
    """From the high rate down to the low one."""

    def in_cycle(self, t: float) -> float:
        """Return the factor; see :meth:`CyclicRate.in_cycle`."""
        return (1 - t) * self.high + t * self.low


def epochs_of_burn_in(burn_in: float, max_epochs: int) -> int:
    """Return how many epochs are burn-in, of which a share is given that leaves some; see :func:`burn_in_of`."""
    if not isinstance(burn_in, Real) or not 0 <= burn_in < 1:
        raise ValueError(f"burn_in is a share of the epochs, at least 0 and below 1; got {burn_in!r}.")
    return burn_in_of(burn_in, max_epochs)


def rate_of(net: Any, name: str) -> float:
    """Return the net's own learning rate, which a schedule multiplies by a factor."""
    rate = net.get_params(deep=False).get("optimizer__lr", net.lr)
    if not rate > 0:
        raise ValueError(
            f"{name} sets the learning rate by a factor on the net's own, which is {rate:g}: give the net an lr above "
            "0."
        )
    return rate
