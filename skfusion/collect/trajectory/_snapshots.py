"""Snapshot ensembles: states of one run with a cyclic learning rate (Huang et al., 2017)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.collect._base import Collector
from skfusion.collect._recorders import Checkpoints
from skfusion.nets import Run


class Snapshots(Collector):
    r"""Keep the state at the end of each cosine cycle of one training run.

    At step t of a cycle of T steps, both counted from 1, the learning rate is

    .. math:: \alpha(t) = \frac{\alpha_0}{2}\left(\cos\frac{\pi (t - 1)}{T} + 1\right)

    where :math:`\alpha_0` is the net's own learning rate. Every cycle starts again at :math:`\alpha_0`.

    Parameters
    ----------
    n_cycles : int, default=5
        Cycles in the net's ``max_epochs``, each of whole epochs. More give more members, each less trained.
    last : int, optional
        Keep the snapshots of the last cycles only; of all when omitted. The first ones are the weakest.

    Notes
    -----
    Costs one training. A large learning rate makes snapshots more diverse. Groups of ``optimizer__param_groups`` with
    rates of their own are scaled alike.

    References
    ----------
    Huang et al., "Snapshot ensembles: train 1, get M for free", ICLR 2017, arXiv:1704.00109.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import Snapshots
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> pool = Snapshots(3, last=2).collect(mlp_regressor(max_epochs=6), x, x**2)
    >>> pool.names
    ['snapshot-epoch-4', 'snapshot-epoch-6']
    """

    def __init__(self, n_cycles: int = 5, last: int | None = None):
        self.n_cycles = n_cycles
        self.last = last

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the one run; see :meth:`Collector.runs`."""
        if not 1 <= self.n_cycles <= net.max_epochs:
            raise ValueError(
                f"n_cycles must be between 1 and the net's max_epochs={net.max_epochs}, as a cycle takes whole epochs; "
                f"got {self.n_cycles}."
            )
        if self.last is not None and not 1 <= self.last <= self.n_cycles:
            raise ValueError(f"last must be between 1 and n_cycles={self.n_cycles}; got {self.last}.")
        (seed,) = draw_seeds(rng, 1, "runs")
        ends = tuple((i + 1) * net.max_epochs // self.n_cycles for i in range(self.n_cycles))
        kept = ends[-(self.last or self.n_cycles) :]
        return [Run("snapshot", seed, schedule=CosineCycles(ends), recorder=partial(Checkpoints, kept))]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_cycles": 2}


@dataclass(frozen=True)
class CosineCycles:
    """The factor on the learning rate at a step; cycles end after the epochs ``ends``."""

    ends: tuple[int, ...]

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        cycle = min(bisect_right([e * steps_per_epoch for e in self.ends], step), len(self.ends) - 1)
        start = self.ends[cycle - 1] * steps_per_epoch if cycle else 0
        length = self.ends[cycle] * steps_per_epoch - start
        return (math.cos(math.pi * (step - start) / length) + 1) / 2
