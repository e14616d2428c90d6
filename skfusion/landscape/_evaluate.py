"""Loss and score of many points of a subspace."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._batches import n_rows, without_single_rows
from skfusion._vectorized import Members, SubspaceModule, attribute_holding_tensor
from skfusion.connect import combined
from skfusion.objective import Objective, call, evaluating, first_output
from skfusion.repair import Recalibrate, Repairer, batch_norms, moments_of, statistics_of
from skfusion.state import State, check_compatible

_ROWS = 4096
"""Rows times points that are computed at once: more do not stay in a CPU's cache."""
_POINTS = 64
"""Points whose outputs are kept at once."""
_CHECKED = 64
"""Rows on which outputs of many points are compared with those of single ones."""


def evaluate(
    controls: Sequence[State],
    coefficients: np.ndarray,  # shape: (n_points, n_controls)
    objective: Objective,
    repair: Repairer | None = None,
    networks: Sequence[int] = (0, -1),
) -> np.ndarray:
    """Return loss and score of points of a subspace, shape (n_points, 2).

    ``networks`` are the positions of the control states that are networks as their own training left them: all other
    points are repaired, by recalibrating BatchNorm statistics when ``repair`` is omitted.
    """
    check_compatible(controls)
    if repair is None:
        own = [controls[i] for i in networks]
        judged = _Together(controls, objective, own).evaluate(torch.from_numpy(coefficients))
        if judged is not None:
            return judged
    states = repaired(controls, coefficients, objective, repair or Recalibrate(n_passes=1), networks)
    return np.array(objective.evaluate(states), np.float64).reshape(-1, 2)


def repaired(
    controls: Sequence[State],
    coefficients: Iterable[np.ndarray],
    objective: Objective,
    repair: Repairer,
    networks: Sequence[int],
) -> Iterator[State]:
    """Iterate over the repaired states of points; a network is there as its own training left it."""
    members = _compared_with(controls, networks, objective)
    as_trained = {id(controls[i]) for i in networks}
    for c in coefficients:
        state = combined(controls, c)
        yield state if id(state) in as_trained else repair(state, members, objective)


def _compared_with(controls: Sequence[State], networks: Sequence[int], objective: Objective) -> list[State]:
    """Return the states that a repairer is given as members: networks as their own training left them.

    Where there are none, it is the first and the last control state. Not so with BatchNorm, of which these have no
    statistics that could be left as they are.
    """
    own = [controls[i] for i in networks]
    return own or ([] if batch_norms(objective.module) else [controls[0], controls[-1]])


class _Together:
    """Points of a subspace as one vectorized network, whose first layer is computed for the control states only."""

    def __init__(self, controls: Sequence[State], objective: Objective, members: Sequence[State]):
        self.controls, self.objective, self.members = controls, objective, members
        self.module = objective.module
        self.norms = batch_norms(self.module)

    def _pays(self) -> bool:
        """Return whether points may be computed together, and whether that is faster."""
        if self.objective.held_out is None or attribute_holding_tensor(self.module):
            return False
        convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in self.module.modules())
        return not convolves and _alike(self.controls)

    def evaluate(self, coefficients: Tensor) -> np.ndarray | None:
        """Return loss and score of all points; None where the module cannot be run for many points at once."""
        of_output = self.objective.of_output
        judged: list[tuple[float, float]] = []
        if of_output is None or not self._pays():
            return None
        try:
            with warnings.catch_warnings(), torch.no_grad(), evaluating(self.module):
                warnings.filterwarnings("error", "There is a performance drop")
                for some in torch.split(coefficients, _POINTS):
                    outputs = self._with_norms(some) if self.norms else self._plain(some)
                    if not judged and not self._agrees(outputs, some.tolist()):
                        return None
                    judged += [of_output(out) for out in outputs]
        except Exception:  # whatever a module may do that fails for many points; one by one, it raises its own errors
            return None
        return np.array(judged, np.float64).reshape(-1, 2)

    def _inputs(self) -> Iterator[Tensor]:
        """Iterate over copies of the inputs to judge on, which a module may write to; raise where they are dicts."""
        assert self.objective.held_out is not None
        for batch in self.objective.held_out():
            yield _cloned(batch.x)

    def _plain(self, c: Tensor) -> Tensor:
        """Return the outputs of points, shape (n_points, n_rows, ...)."""
        span = SubspaceModule(self.module, self.controls)
        parts = []
        for x in self._inputs():
            parts.append(torch.cat([_outputs(span, span.points(some), x) for some in torch.split(c, _at_once(len(x)))]))
            span.forget()
        return torch.cat(parts, dim=1)

    def _with_norms(self, c: Tensor) -> Tensor:
        """Return the outputs of points, their BatchNorm layers recalibrated in one pass."""
        span = SubspaceModule(self.module, self.controls)
        outputs = []
        batches = (batch.x for batch in without_single_rows(self.objective.batches()))
        longest = max(n_rows(x) for x in chain(self._inputs(), batches))
        for some in torch.split(c, _at_once(longest)):
            tensors = self._recalibrated(span, span.points(some))
            outputs.append(torch.cat([_outputs(span, tensors, x) for x in self._inputs()], dim=1))
            for p, point in enumerate(some.tolist()):
                if 1.0 in point and any((state := combined(self.controls, point)) is member for member in self.members):
                    outputs[-1][p] = torch.cat([call(self.module, state, x) for x in self._inputs()])
        span.forget()
        return torch.cat(outputs)

    def _recalibrated(self, span: SubspaceModule, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of some points with the BatchNorm statistics that ``Recalibrate(n_passes=1)`` gives."""
        n_points = next(t.value.shape[0] for t in tensors.values() if isinstance(t, Members))
        buffers = [f"{name}.{key}".lstrip(".") for name, norm in self.norms.items() for key in norm._buffers]
        written = {k: tensors[k] for k in buffers if k in tensors}
        copies = {k: Members(t.value.clone()) if isinstance(t, Members) else t.clone() for k, t in written.items()}

        def rows_of(x: Tensor) -> Tensor:  # the very rows, where the layer is the first one
            values = x.value if isinstance(x, Members) else x.expand(n_points, *x.shape)
            return values.transpose(0, 1).flatten(1, 2)  # shape: (n_rows, n_points * n_channels, ...)

        def forward(x: Tensor | dict[str, Tensor]) -> None:
            _outputs(span, tensors | copies, _cloned(x))

        moments = moments_of(self.norms, self.objective.batches(), forward, rows_of=rows_of)
        new = dict(tensors)
        for key, value in statistics_of(moments).items():
            old = tensors[key]
            assert isinstance(old, Members)
            new[key] = Members(value.view(old.value.shape).to(old.dtype))
        return new

    def _agrees(self, outputs: Tensor, coefficients: list[list[float]]) -> bool:
        """Return whether outputs are those that the module gives for some of the points alone, on some rows."""
        x = next(self._inputs())[:_CHECKED]
        for p in {0, len(outputs) // 2, len(outputs) - 1}:
            state = combined(self.controls, coefficients[p])
            if self.norms:
                state = Recalibrate(n_passes=1)(state, self.members, self.objective)
            alone, together = call(self.module, state, x.clone()), outputs[p, : len(x)]
            if alone.shape != together.shape or not torch.allclose(together, alone, 1e-4, 1e-5, equal_nan=True):
                return False
        return True


def _alike(controls: Sequence[State]) -> bool:
    """Return whether what cannot be summed is the same in all states, but for counters of batches."""
    first = controls[0]
    fixed = [k for k, t in first.items() if not t.is_floating_point() and not k.endswith("num_batches_tracked")]
    return all(torch.equal(first[k], other[k]) for k in fixed for other in controls[1:])


def _outputs(span: SubspaceModule, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    with span.holding(tensors) as module:
        out = first_output(module(x))
    if not isinstance(out, Members):
        raise NotImplementedError("The output does not depend on the weights.")
    return out.value


def _cloned(x: Tensor | dict[str, Tensor]) -> Tensor:
    if isinstance(x, dict):
        raise NotImplementedError("Inputs by name are run one by one.")
    return x.clone()


def _at_once(n_rows: int) -> int:
    return max(1, _ROWS // max(1, n_rows))
