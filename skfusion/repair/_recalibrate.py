"""Exact re-estimation of BatchNorm statistics after a fusion (Izmailov et al., 2018; Jordan et al., 2022)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skfusion._batches import n_rows, row_weights, without_single_rows
from skfusion.objective import Batch, Input, Objective, call, evaluating
from skfusion.repair._base import Repairer
from skfusion.state import State, is_statistic

_BatchNorm = nn.modules.batchnorm._BatchNorm
_Run = tuple[str, int]
"""A layer, and how often it has run before in the forward pass."""


class Recalibrate(Repairer):
    r"""Give every BatchNorm layer the mean and variance of what it sees on the data.

    Mean and variance are pooled over all samples by the law of total variance, so they do not depend on how the data
    is cut into batches: for batches *b* of weight :math:`n_b`, mean :math:`m_b` and variance :math:`v_b`,

    .. math:: m = \frac{\sum_b n_b m_b}{n}, \qquad
        v = \frac{\sum_b n_b \left(v_b + (m_b - m)^2\right)}{n - 1}, \qquad n = \sum_b n_b

    Parameters
    ----------
    n_passes : int, optional
        Most passes over the data. By default one for each time that a BatchNorm layer runs in a forward pass, in their
        order, under the final statistics of the runs before it: exact, at about L / 2 full passes for L layers. With
        fewer, that many groups of consecutive runs are estimated together, inside a group under the statistics of the
        batch; 1 is the usual single pass.

    Notes
    -----
    Dropout is off, sample weights count, and modes are restored even after an error. For weights to count, the first
    axis of what a layer sees must be that of samples, or of samples times tokens in this order. A network without
    BatchNorm costs nothing, and a state that is one of the members is returned as it is: its optimiser left it with
    statistics. Layers that their network keeps in evaluation mode when it is trained keep their statistics. Three
    batches are in memory at most.

    A layer that runs several times in a forward pass has one mean and variance for all of its runs. Each run is
    normalised by its own moments while those after it are estimated, as in training on all data in a single batch, and
    then all are pooled. So the result does not depend on the statistics before, and a second time changes nothing. How
    often layers run is seen on the first batch.

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
    arXiv:1803.05407. Jordan et al., "REPAIR: REnormalizing permuted activations for interpolation repair", ICLR
    2023, arXiv:2211.08403.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> from skfusion.repair import Recalibrate
    >>> net = nn.BatchNorm1d(1)
    >>> batches = [Batch(x, x) for x in (torch.zeros(96, 1), torch.ones(4, 1))]
    >>> data = ModuleObjective(net, lambda: batches)
    >>> state = Recalibrate()(net.state_dict(), [], data)
    >>> round(state["running_mean"].item(), 6), round(state["running_var"].item(), 6)
    (0.04, 0.038788)
    """

    needs_objective: ClassVar[bool] = True
    _test_sets = ({}, {"n_passes": 1})

    def __init__(self, n_passes: int | None = None):
        self.n_passes = n_passes

    def __call__(self, state: State, members: Sequence[State], objective: Objective) -> State:
        """Return the state with fresh BatchNorm statistics; see :meth:`Repairer.__call__`."""
        if self.n_passes is not None and self.n_passes < 1:
            raise ValueError(f"n_passes must be at least 1 or None; got {self.n_passes}.")
        module = objective.module
        layers = batch_norms(module)
        if not layers or any(equal(state, member) for member in members):
            return state
        scratch = {
            k: t.clone() if is_statistic(k) or k.endswith("num_batches_tracked") else t for k, t in state.items()
        }
        with evaluating(module):
            calls = calls_of(layers, state, objective)
            runs = [(name, calls[:i].count(name)) for i, name in enumerate(calls)]
            n_groups = min(self.n_passes or len(runs), len(runs))
            known: dict[_Run, Moments] = {}
            for i in range(n_groups):
                group = runs[i * len(runs) // n_groups : (i + 1) * len(runs) // n_groups]
                known |= moments_of(layers, objective.batches(), partial(call, module, scratch), group, known)
        return {**state, **{key: value.to(state[key]) for key, value in statistics_of(known).items()}}


def batch_norms(module: nn.Module) -> dict[str, nn.Module]:
    """Return the BatchNorm layers whose statistics change in training, by name."""
    with evaluating(module):
        module.train()
        return {
            name: part
            for name, part in module.named_modules()
            if isinstance(part, _BatchNorm) and part.running_mean is not None and part.training
        }


def moments_of(
    layers: Mapping[str, nn.Module],
    batches: Iterable[Batch],
    forward: Callable[[Input], Any],
    group: Sequence[_Run] | None = None,
    known: Mapping[_Run, Moments] | None = None,
    rows_of: Callable[[Tensor], Tensor] = lambda x: x,
) -> dict[_Run, Moments]:
    """Return the moments of what BatchNorm layers see in some runs, all when omitted, in one pass over the data.

    Runs whose moments are known are normalised by these, those that are estimated by the statistics of the batch.
    ``forward`` is called with the inputs of each batch, and ``rows_of`` turns what a layer sees into rows. Afterwards
    the layers are in evaluation mode.
    """
    moments = {} if group is None else {run: Moments(run[0]) for run in group}
    statistics = {run: _mean_and_variance(of_run) for run, of_run in (known or {}).items()}
    n_before: Counter[str] = Counter()
    batch: Batch  # the one that runs
    n, weighted = 0, False

    def see(name: str, layer: Any, args: tuple[Tensor, ...]) -> None:
        run = name, n_before[name]
        n_before[name] += 1
        if group is None:
            moments.setdefault(run, Moments(name))
        layer.train(run in moments)
        if run in moments:
            moments[run].add(rows_of(args[0]), batch.weight)
        elif run in statistics:
            for buffer, value in zip((layer.running_mean, layer.running_var), statistics[run], strict=True):
                buffer.copy_(value)
        if group is not None and run == group[-1]:
            raise Enough

    try:
        with ExitStack() as hooks, torch.no_grad():
            for name, layer in layers.items():
                hooks.enter_context(layer.register_forward_pre_hook(partial(see, name)))
            for batch in without_single_rows(batches):
                n, weighted = n + n_rows(batch.x), weighted or batch.weight is not None
                n_before.clear()
                with suppress(Enough):
                    forward(batch.x)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise _too_few([name for name, _ in moments], n, weighted) from error
    finally:
        for layer in layers.values():
            layer.eval()
    for (name, _), of_run in moments.items():
        if of_run.weight <= 1:
            raise _too_few([name], n, weighted)
    return moments


def _mean_and_variance(moments: Moments) -> tuple[Tensor, Tensor]:
    """Return the mean, and the variance as BatchNorm keeps it."""
    return moments.mean, moments.square / (moments.weight - 1)


def statistics_of(moments: Mapping[_Run, Moments]) -> State:
    """Return the running mean and variance of each layer, pooled over its runs, by their names in a state."""
    pooled: dict[str, Moments] = {}
    for (name, _), of_run in moments.items():
        pooled.setdefault(name, Moments(name)).pool(of_run.weight, of_run.mean, of_run.square)
    statistics: State = {}
    for name, of_layer in pooled.items():
        keys = (f"{name}.{key}".lstrip(".") for key in ("running_mean", "running_var"))
        statistics |= zip(keys, _mean_and_variance(of_layer), strict=True)
    return statistics


def _too_few(names: Sequence[str], n: int, weighted: bool) -> ValueError:
    weight = " (or their weights sum to 1 or less)" if weighted else ""
    which = f"layer {names[0]!r} needs" if len(names) == 1 else f"layers {', '.join(map(repr, names))} need"
    return ValueError(
        f"BatchNorm {which} at least 2 values a channel to estimate a variance, so at least 2 rows; the data to "
        f"recalibrate on has {n}{weight}. Give more rows."
    )


def equal(a: State, b: State) -> bool:
    """Return whether two states hold the same numbers."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Enough(Exception):
    """Ends a forward pass early: the layers below have seen what they need."""


class Moments:
    """Running weight, mean and sum of squared deviations by channel, in float64 (Chan et al., 1979).

    ``name`` is the layer that they belong to, for messages. While the weight is 0 there are no other moments.
    """

    mean: Tensor
    square: Tensor

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight = 0.0

    def add(self, x: Tensor, weight: Tensor | None) -> None:  # x shape: (n_rows, n_channels, *positions)
        rows = x.detach().to(torch.float64).reshape(*x.shape[:2], -1)  # shape: (n_rows, n_channels, n_positions)
        w = row_weights(weight, rows, self.name)
        n = float(w.sum()) * rows.shape[2]
        if n == 0:
            return
        mean = torch.einsum("r,rcp->c", w, rows) / n
        self.pool(n, mean, torch.einsum("r,rcp->c", w, (rows - mean[:, None]).square()))

    def pool(self, n: float, mean: Tensor, square: Tensor) -> None:
        """Add the moments of further rows."""
        if not self.weight:
            self.weight, self.mean, self.square = n, mean, square
            return
        total = self.weight + n
        gap = mean - self.mean
        self.mean = self.mean + gap * (n / total)
        self.square = self.square + square + gap.square() * (self.weight * n / total)
        self.weight = total


def first_batch(objective: Objective) -> Batch:
    """Return a batch for a trial forward pass."""
    batch = next(iter(objective.batches()), None)
    if batch is None:
        raise ValueError("Repairing statistics needs at least one batch of inputs; the objective has none.")
    return batch


def calls_of(layers: dict[str, nn.Module], state: State, objective: Objective) -> list[str]:
    """Return which layers run in a forward pass, in order; one that runs twice is named twice."""
    calls: list[str] = []
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_pre_hook(lambda _m, _a, name=name: calls.append(name)))
        objective.forward(state, first_batch(objective).x)
    return calls
