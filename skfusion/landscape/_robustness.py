"""How well points of a subspace withstand attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfusion._batches import n_rows
from skfusion.connect import Attack, Subspace, losses_of_rows
from skfusion.landscape._evaluate import repaired
from skfusion.objective import Batch, Objective, evaluating
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import State


@dataclass(frozen=True, eq=False)
class Robustness:
    """Held-out accuracy and loss of points of a subspace, on rows as they are and as attacks change them.

    Where rows have weights, they count by these.

    Parameters
    ----------
    points : sequence
        In the domain of the subspace.
    accuracy : ndarray of shape (1 + n_attacks, n_points)
        Share of rows that are classified correctly, first as they are, and then under each attack; NaN where the
        outputs are not classes.
    loss : ndarray of shape (1 + n_attacks, n_points)
        Mean loss of the same.
    worst_accuracy : ndarray of shape (n_points,)
        Share of rows that are classified correctly as they are and under all attacks; at most the least accuracy.
    worst_loss : ndarray of shape (n_points,)
        Mean over rows of the highest loss of each; at least the highest mean loss.
    """

    points: Sequence[Any]
    accuracy: np.ndarray
    loss: np.ndarray
    worst_accuracy: np.ndarray
    worst_loss: np.ndarray

    @property
    def best(self) -> Any:
        """The point with the highest worst-case accuracy, of equal ones that with the lowest worst-case loss."""
        order = np.lexsort((np.nan_to_num(self.worst_loss, nan=np.inf), -np.nan_to_num(self.worst_accuracy, nan=0.0)))
        return self.points[int(order[0])]


def robustness_at(
    subspace: Subspace,
    points: Sequence[Any],
    objective: Objective,
    attacks: Sequence[Attack],
    repair: Repairer | None = None,
) -> Robustness:
    """Evaluate points of a subspace under attacks, to choose the one that withstands all of them best.

    Parameters
    ----------
    subspace : Subspace
        What a connector returns, such as a :class:`~skfusion.connect.RobustPath`.
    points : sequence
        In its domain, such as ``path.grid(61)``.
    objective : Objective
        Architecture, and held-out rows, on which the points are judged.
    attacks : sequence of Attack
        Each is tried on its own, such as one a norm. A row counts in the worst case where all of them fail.
    repair : Repairer, optional
        Applied to every point but the networks of the subspace; BatchNorm statistics are recalibrated when omitted.

    Returns
    -------
    Robustness
        Of each point.

    Notes
    -----
    Costs an evaluation and the attacks at each point. The number of the best point is a little too high on the rows
    that chose it: measure it on further ones.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Attack, Line
    >>> from skfusion.landscape import robustness_at
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> rows = Batch(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
    >>> data = ModuleObjective(
    ...     torch.nn.Linear(1, 2, bias=False),
    ...     lambda: [rows],
    ...     held_out=lambda: [rows],
    ...     criterion=lambda out, batch: torch.nn.functional.cross_entropy(out, batch.y),
    ... )
    >>> path = Line()([{"weight": torch.tensor([[-w], [w]])} for w in (-1.0, 1.0)])
    >>> attacks = [Attack(l_inf=0.5, bounds=(-2, 2)), Attack(l_inf=1.5, bounds=(-2, 2))]
    >>> found = robustness_at(path, [0.0, 1.0], data, attacks)
    >>> found.accuracy[:, 1].tolist(), found.worst_accuracy.tolist(), found.best
    ([1.0, 1.0, 0.0], [0.0, 0.0], 1.0)
    """
    if objective.held_out is None or objective.criterion is None:
        raise ValueError(
            "Points are judged on held-out rows by a criterion, and the objective lacks one of them: give it held_out= "
            "and criterion=."
        )
    prepared = [attack.prepared(objective) for attack in attacks]
    coefficients = [subspace.weights(point) for point in points]
    states = repaired(subspace.controls, coefficients, objective, repair or Recalibrate(n_passes=1), subspace.networks)
    judged = [_judged(state, objective, prepared) for state in states]
    right, losses, weights = (torch.stack(part).double() for part in zip(*judged, strict=True))
    # shapes: (n_points, 1 + n_attacks, n_rows), and (n_points, n_rows)
    shares = (weights / weights.sum(1, keepdim=True))[:, None]
    return Robustness(
        points,
        (right * shares).sum(2).T.numpy(),
        (losses * shares).sum(2).T.numpy(),
        (right.amin(1) * shares[:, 0]).sum(1).numpy(),
        (losses.amax(1) * shares[:, 0]).sum(1).numpy(),
    )


def _judged(state: State, objective: Objective, prepared: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Return which held-out rows are classified correctly, as they are and under each attack, losses, and weights."""
    assert objective.held_out is not None

    def forward(x: Tensor) -> Tensor:
        return objective.forward(state, x)

    right, losses, weights = [], [], []
    with evaluating(objective.module):
        for batch in objective.held_out():
            weights.append(torch.ones(n_rows(batch.x)) if batch.weight is None else batch.weight.cpu())
            versions = [batch, *(attacked(forward, batch) for attacked in prepared)]
            with torch.no_grad():
                outputs = [objective.forward(state, version.x) for version in versions]
                right.append(torch.stack([_right(objective, out, batch) for out in outputs]))
                losses.append(torch.stack([losses_of_rows(objective, out, batch) for out in outputs]))
    return torch.cat(right, dim=1).cpu(), torch.cat(losses, dim=1).cpu(), torch.cat(weights)


def _right(objective: Objective, out: Tensor, batch: Batch) -> Tensor:
    """Return 1 for rows of the right class and 0 for others, and NaN where outputs are not classes."""
    likelihood, y = objective.likelihood, batch.y
    codes = not y.is_floating_point() and y.dim() == 1 and out.dim() == 2
    if likelihood.kind != "categorical" if likelihood is not None else not codes:
        return torch.full((len(out),), torch.nan, device=out.device)
    logits = out if likelihood is None else likelihood.logits(out)
    return (logits.argmax(1) == y.reshape(-1)).to(torch.get_default_dtype())
