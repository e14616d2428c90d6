"""The automated nudged elastic band (Kolsbjerg et al., 2016; Draxler et al., 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from skfusion._docs import doc
from skfusion._random import seed_scope
from skfusion.connect._base import Connector, Path
from skfusion.connect._chain import Chain
from skfusion.connect._parameters import check_numbers, check_steps, check_whole
from skfusion.connect.strings._band import Band, trainable
from skfusion.connect.strings._docs import BAND
from skfusion.connect.strings._forces import check_spring
from skfusion.connect.strings._judge import inner_shares
from skfusion.objective import Objective
from skfusion.state import State


@doc(BAND)
@dataclass(eq=False, repr=False)
class AutoNEB(Connector, Chain):
    r"""Join two networks by an elastic band that gets more pivots where it needs them (AutoNEB).

    The band of :class:`ElasticBand` is relaxed in cycles. Before each but the first, the loss is measured along the
    band. Where it rises above the straight line between the losses of two neighbouring pivots by more than a share of
    the range of the losses, a pivot is put at the place where it does so most. The band of the cycle with the lowest
    highest loss is returned.

    Parameters
    ----------
    n_bends : int, default=3
        Equally spaced pivots of the first cycle.
    n_cycles : int, default=8
        Cycles. More cycles, and more epochs in them, find a lower pass.
    n_epochs : int, default=10
        Epochs of a cycle.
    n_inserted : int, default=2
        Most pivots that a later cycle adds, at the worst places.
    threshold : float, default=0.1
        By how much the loss must rise there, as a share of the range of the losses along the band. Less adds more.
    n_points : int, default=9
        Points between two neighbours at which the loss is measured. More find narrower hills.
    lr : float, default=0.1
        Learning rate of SGD for half of the cycles; a tenth of it for the next quarter, and a hundredth for the last.
    {steps}

    Notes
    -----
    Costs ``n_cycles`` times ``n_epochs`` epochs of as many networks as there are pivots: with all that may be added,
    ``n_bends`` + ``n_inserted`` (``n_cycles`` - 1). With the defaults that is up to 800 epochs of one network.
    {notes}

    Between perceptrons on digits, two pairs, the loss on its path is nowhere above that of the worse network, on the
    rows that it is trained on, where it is 0.0155 or more on the curve of ``Bezier()``; a curve that is trained for 500
    epochs comes to the same in less time (``benchmarks/bench_bands.py``).

    The defaults are for small networks. The paper has 14 cycles, with a first one of 3 pivots and up to 2 more in the
    others: of 1000 steps each, of which two have 2000, in batches of 512, with learning rates of 0.1 (six cycles), 0.01
    and 0.001 (four each), a momentum of 0.9, and a weight decay of 1e-4.

    References
    ----------
    {references} Kolsbjerg, Groves and Hammer, "An automated nudged elastic band method", Journal of Chemical Physics
    145, 2016, doi:10.1063/1.4961868.

    Examples
    --------
    >>> from skfusion.connect import AutoNEB
    >>> AutoNEB().weights(0.25, 3).tolist()
    [0.5, 0.5, 0.0]
    """

    n_bends: int = 3
    n_cycles: int = 8
    n_epochs: int = 10
    n_inserted: int = 2
    threshold: float = 0.1
    n_points: int = 9
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    spring: float = math.inf
    random_state: int = 0
    _test_sets = (
        {"n_cycles": 4, "n_epochs": 10, "n_points": 3},
        {"n_bends": 2, "n_cycles": 3, "n_epochs": 10, "n_points": 2, "spring": 0.1, "weight_decay": 1e-3},
    )

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_bends", "n_cycles", "n_points", least=1)
        check_whole(self, "n_epochs", "n_inserted")
        check_numbers(self, "threshold")
        check_steps(self, "weight_decay")
        check_spring(self)

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Path:
        """Return the band of the best cycle; see :meth:`Connector.__call__`."""
        data = trainable(self, states, objective)
        if data is None:
            return Path(states, self)
        band = Band(self, states, data)
        with seed_scope(int(self.random_state), band.pivots.device), torch.no_grad():
            band.insert_evenly(self.n_bends)
            profile = band.profile(self.n_points)
            lowest, best = np.nanmax(profile), band.controls
            for cycle in range(self.n_cycles):
                if cycle:
                    band.insert(hills(profile, self.threshold, self.n_inserted))
                band.relax(self.n_epochs, partial(self._rate, cycle))
                profile = band.profile(self.n_points)
                if np.nanmax(profile) <= lowest:
                    lowest, best = np.nanmax(profile), band.controls
        return Path(best, self, band.history)

    def _rate(self, cycle: int, done: float) -> float:
        """Return the factor on the learning rate in a cycle, of which the share ``done`` is over."""
        share = cycle / self.n_cycles
        return 1.0 if share < 0.5 else 0.1 if share < 0.75 else 0.01


def hills(profile: np.ndarray, threshold: float, most: int) -> list[tuple[int, float]]:
    """Return the links on which the loss rises most, each with the share of it that is before the worst place.

    ``profile`` has the loss at each pivot and at points of the link after it, shape (n_pivots, n_points + 1). At most
    so many links are given, and those where the loss rises above the line between its ends by more than the share
    ``threshold`` of its range.
    """
    n_points = profile.shape[1] - 1
    shares, ends = inner_shares(n_points), profile[:, 0]
    rise = profile[:-1, 1:] - ends[:-1, None] * (1 - shares) - ends[1:, None] * shares
    worst, heights = rise.argmax(1), rise.max(1)
    least = threshold * (np.nanmax(profile) - np.nanmin(profile))
    found = [k for k in np.argsort(-heights, kind="stable")[:most] if heights[k] > least]
    return [(int(k), float(shares[worst[k]])) for k in found]
