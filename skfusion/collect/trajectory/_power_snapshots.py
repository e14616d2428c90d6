"""Snapshots of two running averages along one run, from which others are made afterwards (Karras et al., 2024)."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch

from skfusion._random import draw_seeds
from skfusion._rows import Rows
from skfusion.average import PowerEMA, Running
from skfusion.collect._base import Collector
from skfusion.collect.trajectory._averages import recalibrated
from skfusion.nets import LastState, Recorder, Run
from skfusion.pool import Member
from skfusion.state import State, is_statistic, map_tensors


class PowerSnapshots(Collector):
    r"""Track moving averages of a few lengths along one run, and keep snapshots of each at equal intervals.

    The averages are those of :class:`~skfusion.average.PowerEMA`, over the states after all T steps; their snapshots
    are taken after :math:`\lceil i T / n \rceil` steps for i from 1 to n. :class:`~skfusion.merge.PostHocEMA` makes the
    average of any other length of them: one training, and the length is chosen afterwards (post-hoc EMA).

    Parameters
    ----------
    sigmas : sequence of float, default=(0.05, 0.1)
        Relative lengths of the averages that are tracked, each above 0 and at most 0.2887. Lengths between them, and up
        to about twice the longest, are made with small errors. Two are the usual choice.
    n : int, default=20
        Snapshots of each average. More let shorter averages be made, and take more memory.

    Notes
    -----
    Costs one training, an update of each average after every step, and the memory of one state in double precision for
    each average and of one in the precision of the net, at least single, for each snapshot: by default 40 of them.
    Members have ``meta["sigma"]``, ``meta["time"]``, the steps that came before, and ``meta["n_steps"]``, the steps of
    the whole run. Where it ends early, the last snapshot is taken at its end, and times are as they were planned.

    Statistics of BatchNorm are averaged in the snapshots, as what is made of them gets statistics of its own from the
    estimator (``repair=Recalibrate()``). Only the last snapshots, which are averages of the whole run and may be used
    as they are, have them estimated anew on the training rows; the others have ``meta["averaged_statistics"]``, by
    which a soup knows that they have none of their own.

    The best state, which skorch's ``EarlyStopping(load_best=True)`` or ``Checkpoint(load_best=True)`` loads when
    training ends, is not looked at. The schedule of the learning rate is the net's own.

    References
    ----------
    Karras et al., "Analyzing and improving the training dynamics of diffusion models", CVPR 2024, arXiv:2312.02696.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.collect import PowerSnapshots
    >>> from skfusion.merge import PostHocEMA
    >>> from skfusion.nets import mlp_regressor
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> net = mlp_regressor(max_epochs=8, batch_size=8)
    >>> pool = PowerSnapshots(n=4).collect(net, x, x**2)
    >>> [(m.name, m.meta["time"]) for m in pool][:3]
    [('ema-0.05-1', 8), ('ema-0.1-1', 8), ('ema-0.05-2', 16)]
    >>> merge = PostHocEMA(sigma=0.07).for_members([m.meta for m in pool])
    >>> round(sum(merge.coefficients(pool.states)), 3)
    1.0
    """

    def __init__(self, sigmas: Sequence[float] = (0.05, 0.10), n: int = 20):
        self.sigmas = sigmas
        self.n = n

    def runs(self, net: Any, rows: Rows, rng: np.random.RandomState) -> list[Run]:
        """Return the one run; see :meth:`Collector.runs`."""
        if not isinstance(self.n, Integral) or self.n < 1:
            raise ValueError(f"n is a whole number of snapshots of each average, at least 1; got {self.n!r}.")
        given = isinstance(self.sigmas, Iterable) and not isinstance(self.sigmas, str)
        sigmas = [*self.sigmas] if given else []
        for sigma in sigmas:
            PowerEMA(sigma).begin(1)  # which checks the length before anything is trained
        if not sigmas or len({*sigmas}) < len(sigmas):
            raise ValueError(f"sigmas is a sequence of different lengths, at least one; got {self.sigmas!r}.")
        averages = {float(sigma): PowerEMA(float(sigma)) for sigma in sigmas}
        (seed,) = draw_seeds(rng, 1, "runs")
        recorder = partial(_Tracked, averages, int(self.n), partial(recalibrated, net, rows))
        return [Run("ema", seed, recorder=recorder)]

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n": 3}
        yield {"sigmas": (0.2,), "n": 2}


class _Tracked(Recorder):
    """Keeps running averages, and copies of them after some steps."""

    by_step = True

    def __init__(self, averages: dict[float, PowerEMA], n: int, repair: Callable[[Any, State, State], State]):
        self.averages, self.n, self.repair = averages, n, repair
        self.running: dict[float, Running] = {}
        self.kept: list[tuple[int, dict[float, State]]] = []  # the time, and the average of each length
        self.epochs: list[int] = []  # steps that had been taken at the end of each
        self.step = self.n_steps = 0

    def after_step(self, step: int, n_steps: int, state: State) -> None:
        """Let the state enter all averages, and keep them where it is time to."""
        self.running = self.running or {sigma: average.begin(n_steps) for sigma, average in self.averages.items()}
        self.step, self.n_steps = step, n_steps
        for running in self.running.values():
            running.update(step, state)
        # after ceil(i T / n) steps, for some i
        if step and step * self.n // n_steps > (step - 1) * self.n // n_steps:
            self._keep(state)

    def after_epoch(self, epoch: int, net: Any) -> None:
        """Note when the epoch has ended."""
        self.epochs.append(self.step)

    def _keep(self, state: State) -> None:
        self.kept.append((self.step, {sigma: _average(state, r.result()) for sigma, r in self.running.items()}))

    def members(self, name: str, net: Any = None) -> list[Member]:
        """Return the snapshots so far; of a run that has ended early also those of its end."""
        if net is not None and self.step and (not self.kept or self.kept[-1][0] < self.step):
            self._keep(net.module_.state_dict())
        if net is not None and self.kept:
            time, states = self.kept.pop()
            (last,) = LastState().members(name, net)
            self.kept.append((time, {sigma: self._repaired(net, s, last.state) for sigma, s in states.items()}))
            self.epochs[len(net.history) - 1 :] = [time]  # what ends a run may end its last epoch before it is seen
        n_averaged = len(self.kept) - (net is not None)
        return [
            Member(f"{name}-{sigma:g}-{i}", state, meta={"sigma": sigma, **self._known(time, i <= n_averaged, state)})
            for i, (time, states) in enumerate(self.kept, 1)
            for sigma, state in states.items()
        ]

    def _known(self, time: int, averaged: bool, state: State) -> dict[str, Any]:
        known = {"time": time, "n_steps": self.n_steps, "epoch": bisect_right(self.epochs, time)}
        return known | ({"averaged_statistics": True} if averaged and any(map(is_statistic, state)) else {})

    def _repaired(self, net: Any, state: State, last: State) -> State:
        repaired = self.repair(net.module_, state, last)
        return {key: repaired[key].to(t.dtype) if is_statistic(key) else t for key, t in state.items()}

    def warn_if_incomplete(self, name: str) -> None:
        """Warn where there are fewer snapshots than asked for, or the run has ended early."""
        if self.n > self.n_steps:
            warnings.warn(
                f"The run {name!r} takes {self.n_steps} steps, so that there is a snapshot of each average after each "
                f"of them, and {self.n} were asked for. Train longer, or take a smaller n.",
                stacklevel=3,
            )
        if self.step < self.n_steps:
            n = len({*(time for time, _ in self.kept), self.step})
            warnings.warn(
                f"The run {name!r} ended after {self.step} of {self.n_steps} steps: there are {n} "
                f"snapshots of each average, the last of them at its end, and {self.n} were asked for. Take the "
                "callback that ends the training, such as EarlyStopping, from the net, or let it wait longer.",
                stacklevel=3,
            )


def _average(state: State, average: State) -> State:
    """Return a copy of a live state with averaged numbers, in its precision, but for half precision in single."""

    def kept(t: torch.Tensor) -> torch.Tensor:
        half = t.is_floating_point() and t.element_size() < 4
        return t.detach().to("cpu", torch.float32 if half else t.dtype, copy=True)

    made = map_tensors(kept, state)  # which leaves tied tensors tied
    for key, tensor in average.items():
        made[key].copy_(tensor)
    return {key.replace("_orig_mod.", ""): t for key, t in made.items()}
