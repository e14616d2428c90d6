"""Loss and score of many points of a subspace."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._batches import n_rows, without_single_rows
from skfusion._vectorized import Members, SubspaceModule, attribute_holding_tensor, value_of
from skfusion.connect._base import combined
from skfusion.objective import Batch, Objective, call, evaluating, first_output
from skfusion.repair import Recalibrate, Repairer
from skfusion.repair._moments import Moments
from skfusion.repair._recalibrate import learning
from skfusion.state import State, check_compatible

_ROWS = 4096
"""Rows times points that are computed at once: more do not stay in a CPU's cache."""
_POINTS = 64
"""Points whose outputs are kept at once."""
_CHECKED = 64
"""Rows on which outputs of many points are compared with those of single ones."""


def evaluate(
    controls: Sequence[State],
    coefficients: np.ndarray,
    objective: Objective,
    repair: Repairer | None = None,
    own: Sequence[int] = (0, -1),
) -> np.ndarray:
    """Return loss and score of points of a subspace.

    Parameters
    ----------
    controls : sequence of State
        m states of one architecture.
    coefficients : ndarray of shape (n_points, m)
        Of the points.
    objective : Objective
        Architecture and data.
    repair : Repairer, optional
        Applied to every other point than the networks below; BatchNorm statistics are recalibrated when omitted.
    own : sequence of int, default=(0, -1)
        Which control states are networks with statistics of their own, as their training left them.

    Returns
    -------
    ndarray of shape (n_points, 2)
        Loss and score.
    """
    check_compatible(controls)
    networks = [controls[i] for i in own]
    if repair is None and (found := _together(controls, coefficients, objective, networks)) is not None:
        return found
    mend = Recalibrate(max_passes=1) if repair is None else repair
    members = networks if networks or repair is None else [controls[0], controls[-1]]
    states = (combined(controls, c) for c in coefficients)
    mended = (s if _among(networks, s) else mend(s, members, objective) for s in states)
    return np.array(objective.evaluate(mended), np.float64).reshape(-1, 2)


def _among(networks: Sequence[State], state: State) -> bool:
    return any(state is network for network in networks)


def _together(
    controls: Sequence[State], coefficients: np.ndarray, objective: Objective, networks: Sequence[State]
) -> np.ndarray | None:
    """Return loss and score of all points, computed many at once; None where that cannot be done, or does not pay."""
    module = objective.module
    if objective.of_output is None or objective.held_out is None or objective.heads or attribute_holding_tensor(module):
        return None
    if any(isinstance(m, nn.modules.conv._ConvNd) for m in module.modules()) or not _alike(controls):
        return None
    c = torch.from_numpy(coefficients)
    norms = learning(module)
    inputs = partial(_inputs, objective.held_out)
    found: list[tuple[float, float]] = []
    try:
        with warnings.catch_warnings(), torch.no_grad(), evaluating(module):
            warnings.filterwarnings("error", "There is a performance drop")
            for some in torch.split(c, _POINTS):
                if norms:
                    out = _with_norms(controls, some, objective, norms, inputs, networks)
                else:
                    out = _plain(controls, some, module, inputs)
                at = some.tolist()
                if not found and not _agrees(out, controls, at, objective, next(inputs()), networks, norms):
                    return None
                found += [objective.of_output(o) for o in out]
    except Exception:  # whatever a module may do that cannot be done for many; one by one, it tells what is wrong
        return None
    return np.array(found, np.float64).reshape(-1, 2)


def _alike(controls: Sequence[State]) -> bool:
    """Return whether what cannot be summed is the same in all states, but for counters of batches."""
    first = controls[0]
    fixed = [k for k, t in first.items() if not t.is_floating_point() and not k.endswith("num_batches_tracked")]
    return all(torch.equal(first[k], other[k]) for k in fixed for other in controls[1:])


def _inputs(held_out: Callable[[], Iterable[Batch]]) -> Iterator[Tensor]:
    """Iterate over copies of the inputs to judge on, which a module may write to, or raise where they are dicts."""
    for batch in held_out():
        if isinstance(batch.x, dict):
            raise NotImplementedError("Inputs by name are run one by one.")
        yield batch.x.clone()


def _plain(controls: Sequence[State], c: Tensor, module: nn.Module, inputs: Callable[[], Iterator[Tensor]]) -> Tensor:
    """Return the outputs of all points, shape (n_points, n_rows, ...)."""
    span = SubspaceModule(module, controls)
    parts = []
    for x in inputs():
        parts.append(torch.cat([_outputs(span, span.points(some), x) for some in torch.split(c, _at_once(len(x)))]))
        span.forget()
    return torch.cat(parts, dim=1)


def _with_norms(
    controls: Sequence[State],
    c: Tensor,
    objective: Objective,
    norms: dict[str, nn.Module],
    inputs: Callable[[], Iterator[Tensor]],
    networks: Sequence[State],
) -> Tensor:
    """Return the outputs of all points, their BatchNorm layers recalibrated in one pass."""
    span = SubspaceModule(objective.module, controls)
    found = []
    longest = max(n_rows(x) for x in chain(inputs(), (b.x for b in without_single_rows(objective.batches()))))
    for some in torch.split(c, _at_once(longest)):
        tensors = _recalibrated(span, span.points(some), norms, objective)
        found.append(torch.cat([_outputs(span, tensors, x) for x in inputs()], dim=1))
        for p, coefficients in enumerate(some.tolist()):
            if 1.0 in coefficients and _among(networks, own := combined(controls, coefficients)):
                found[-1][p] = torch.cat([call(objective.module, own, x) for x in inputs()])
    span.forget()
    return torch.cat(found)


def _recalibrated(
    span: SubspaceModule, tensors: dict[str, Tensor], norms: dict[str, nn.Module], objective: Objective
) -> dict[str, Tensor]:
    """Return the tensors of some points with the statistics of BatchNorm pooled over the batches."""
    moments = {name: Moments(name) for name in norms}
    scratch = {k: Members(t.value.clone()) if isinstance(t, Members) else t.clone() for k, t in tensors.items()}
    scratch |= {k: t for k, t in tensors.items() if not _statistic_of(k, norms)}
    n_points = next(t.value.shape[0] for t in tensors.values() if isinstance(t, Members))
    batch: Batch | None = None

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            assert batch is not None
            x = args[0]  # the very rows, where the layer is the first one
            value = x.value if isinstance(x, Members) else x.expand(n_points, *x.shape)
            # shape: (n_points, n_rows, n_channels, ...)
            moments[name].add(value.transpose(0, 1).flatten(1, 2), batch.weight)

        return hook

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in norms.items()]
    for layer in norms.values():
        layer.train()
    try:
        for batch in without_single_rows(objective.batches()):
            _outputs(span, scratch, _cloned(batch.x))
    finally:
        for handle in hooks:
            handle.remove()
        for layer in norms.values():
            layer.eval()
    new = dict(tensors)
    for name, seen in moments.items():
        prefix = f"{name}." if name else ""
        if seen.mean is None or seen.square is None or seen.weight <= 1:
            raise NotImplementedError("Too few rows; the usual way says so.")
        for key, value in (("running_mean", seen.mean), ("running_var", seen.square / (seen.weight - 1))):
            old = tensors[prefix + key]
            assert isinstance(old, Members)
            new[prefix + key] = Members(value.view(old.value.shape).to(old.dtype))
    return new


def _statistic_of(key: str, norms: dict[str, nn.Module]) -> bool:
    layer, _, name = key.rpartition(".")
    return layer in norms and name in ("running_mean", "running_var", "num_batches_tracked")


def _outputs(span: SubspaceModule, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    with span.holding(tensors) as module:
        return value_of(first_output(module(x)))


def _cloned(x: Any) -> Tensor:
    found: Tensor = x.clone()
    return found


def _at_once(n_rows: int) -> int:
    return max(1, _ROWS // max(1, n_rows))


def _agrees(
    found: Tensor,
    controls: Sequence[State],
    coefficients: list[list[float]],
    objective: Objective,
    x: Tensor,
    networks: Sequence[State],
    norms: dict[str, nn.Module],
) -> bool:
    """Return whether outputs are those that the module gives for some of the points by themselves, on some rows."""
    x = x[:_CHECKED]
    for p in {0, len(found) // 2, len(found) - 1}:
        state = combined(controls, coefficients[p])
        if norms:
            state = Recalibrate(max_passes=1)(state, networks, objective)
        expected, own = call(objective.module, state, x.clone()), found[p, : len(x)]
        if expected.shape != own.shape or not torch.allclose(own, expected, 1e-4, 1e-5, equal_nan=True):
            return False
    return True
