"""Exact re-estimation of BatchNorm statistics after a fusion (Izmailov et al., 2018; Jordan et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skfusion.objective import Batch, Objective, call, evaluating
from skfusion.repair._base import Repairer
from skfusion.repair._moments import Enough, Moments, calls_of, equal, n_rows, without_single_rows
from skfusion.state import State

_BatchNorm = nn.modules.batchnorm._BatchNorm


class Recalibrate(Repairer):
    r"""Give every BatchNorm layer the mean and variance of what it sees on the data.

    Mean and variance are pooled over all samples by the law of total variance, so they do not depend on how the data
    is cut into batches: for batches *b* of weight :math:`n_b`, mean :math:`m_b` and variance :math:`v_b`,

    .. math:: m = \frac{\sum_b n_b m_b}{n}, \qquad
        v = \frac{\sum_b n_b \left(v_b + (m_b - m)^2\right)}{n - 1}, \qquad n = \sum_b n_b

    Parameters
    ----------
    max_passes : int, optional
        Most passes over the data. By default one a BatchNorm layer, in the order in which they run, each under the
        final statistics of those before it: exact, at about L / 2 full passes for L layers. With fewer, that many
        groups of consecutive layers are estimated together, inside a group under the statistics of the batch; 1 is
        the usual single pass.

    Notes
    -----
    Dropout is off, sample weights count, and modes are restored even after an error. For weights to count, the first
    axis of what a layer sees must be that of samples, or of samples times tokens in this order. A network without
    BatchNorm costs nothing, and a state that is one of the members is returned as it is: its optimiser left it with
    statistics. Layers that their network keeps in evaluation mode when it is trained keep their statistics.

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
    arXiv:1803.05407. Jordan et al., "REPAIR: REnormalizing permuted activations for interpolation repair", ICLR
    2023, arXiv:2211.08403.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.objective import Batch, Objective
    >>> from skfusion.repair import Recalibrate
    >>> net = nn.BatchNorm1d(1)
    >>> batches = [Batch(x, x) for x in (torch.zeros(96, 1), torch.ones(4, 1))]
    >>> data = Objective(net, lambda: batches, lambda s: 0.0, lambda s: 0.0)
    >>> state = Recalibrate()(net.state_dict(), [], data)
    >>> round(state["running_mean"].item(), 6), round(state["running_var"].item(), 6)
    (0.04, 0.038788)
    """

    needs_objective: ClassVar[bool] = True

    def __init__(self, max_passes: int | None = None):
        self.max_passes = max_passes

    def __call__(self, state: State, members: Sequence[State], objective: Objective) -> State:
        """Return the state with fresh BatchNorm statistics; see :meth:`Repairer.__call__`."""
        if self.max_passes is not None and self.max_passes < 1:
            raise ValueError(f"max_passes must be at least 1 or None; got {self.max_passes}.")
        layers = learning(objective.module)
        if not layers or any(equal(state, member) for member in members):
            return state
        with evaluating(objective.module):
            calls = calls_of(layers, state, objective)
            order = [*calls]
            n_passes = min(self.max_passes or len(order), len(order))
            for i in range(n_passes):
                group = order[i * len(order) // n_passes : (i + 1) * len(order) // n_passes]
                once = len(group) == 1 and calls[group[0]] == 1
                state = _calibrated(state, group, layers, objective, stop_early=once)
        return state

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"max_passes": 1}


def learning(module: nn.Module) -> dict[str, nn.Module]:
    """Return the BatchNorm layers whose statistics change in training."""
    with evaluating(module):
        module.train()
        return {
            name: part
            for name, part in module.named_modules()
            if isinstance(part, _BatchNorm) and part.running_mean is not None and part.training
        }


def _calibrated(
    state: State, group: list[str], layers: dict[str, nn.Module], objective: Objective, stop_early: bool
) -> State:
    moments = {name: Moments(name) for name in group}
    current: list[Batch] = []

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            moments[name].add(args[0], current[-1].weight)
            if stop_early:
                raise Enough

        return hook

    hooks = [layers[name].register_forward_pre_hook(watch(name)) for name in group]
    for name in group:
        layers[name].train(len(group) > 1)
    try:
        with torch.no_grad():
            for batch in without_single_rows(objective.batches()):
                current.append(batch)
                try:
                    call(objective.module, state, batch.x)
                except Enough:
                    continue
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise _too_few(group, current) from error
    finally:
        for hook in hooks:
            hook.remove()
        for name in group:
            layers[name].eval()
    new = dict(state)
    for name, found in moments.items():
        prefix = f"{name}." if name else ""
        if found.mean is None or found.square is None or found.weight <= 1:
            raise _too_few([name], current)
        for key, value in (("running_mean", found.mean), ("running_var", found.square / (found.weight - 1))):
            old = state[prefix + key]
            new[prefix + key] = value.to(old.device, old.dtype)
    return new


def _too_few(names: Sequence[str], batches: Sequence[Batch]) -> ValueError:
    n = sum(n_rows(b) for b in batches)
    weight = "" if all(b.weight is None for b in batches) else " (or their weights sum to 1 or less)"
    which = f"layer {names[0]!r} needs" if len(names) == 1 else f"layers {', '.join(map(repr, names))} need"
    return ValueError(
        f"BatchNorm {which} at least 2 values a channel to estimate a variance, so at least 2 rows; the data to "
        f"recalibrate on has {n}{weight}. Give more rows."
    )
