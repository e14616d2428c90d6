"""Inputs that are changed for the worst within balls: projected gradient descent (PGD) and multi steepest descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from skfusion._batches import take
from skfusion.connect.robust._balls import STEPS, projected
from skfusion.objective import Batch, Objective

Forward = Callable[[Tensor], Tensor]
_FIRST = 2.5
"""How many radii all steps together are long."""


@dataclass(frozen=True)
class Attack:
    r"""Change inputs so that the loss of each row rises, within balls around it.

    .. math:: \max_{p} \; \max_{\lVert x' - x \rVert_p \le \varepsilon_p} L(\theta; x', y), \qquad
        p \in \{\infty, 2, 1\}

    With one ball this is projected gradient descent (PGD). With several, a row takes the one of the steepest steps in
    the balls, each by its norm, that gives it the highest loss (multi steepest descent); its change lies in one of the
    balls.

    Parameters
    ----------
    l_inf : float, default=0.0
        Radius of the ball of the largest change of a number, in units of the inputs; 0 leaves the ball out.
    l2 : float, default=0.0
        Radius of the Euclidean ball.
    l1 : float, default=0.0
        Radius of the ball of the sum of all changes.
    n_steps : int, default=10
        Steps, each 2.5 radii by their number long. More find higher losses.
    n_restarts : int, default=0
        Further starts at random points of the balls. More find higher losses.
    bounds : (float, float), optional
        The least and the largest number that an input may have, such as (0, 1) of images; those of the rows of the
        objective when omitted.
    random_state : int, default=0
        Seed of the restarts.

    Notes
    -----
    Costs ``n_steps`` gradients for each start, and with several balls a forward pass for each of them and each step.
    The steps of the l1 ball go along the hundredth of the numbers with the largest slopes, at least one. Rows keep what
    gives them the highest loss of all that was tried, themselves included. All radii at 0 change nothing.

    References
    ----------
    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, arXiv:1706.06083. Maini,
    Wong and Kolter, "Adversarial robustness against the union of multiple perturbation models", ICML 2020,
    arXiv:1909.04068 (multi steepest descent). Tramer and Boneh, "Adversarial training and robustness for multiple
    perturbations", NeurIPS 2019, arXiv:1904.13000 (steps in the l1 ball).

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Attack
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net, rows = torch.nn.Linear(2, 1), Batch(torch.zeros(3, 2), torch.zeros(3, 1))
    >>> data = ModuleObjective(
    ...     net, lambda: [rows], criterion=lambda out, batch: (out - batch.y).square().mean()
    ... )
    >>> state = {"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.ones(1)}
    >>> Attack(l_inf=0.5, bounds=(-1, 1)).on(data, state, rows).x[0].tolist()
    [0.5, -0.5]
    """

    l_inf: float = 0.0
    l2: float = 0.0
    l1: float = 0.0
    n_steps: int = 10
    n_restarts: int = 0
    bounds: tuple[float, float] | None = None
    random_state: int = 0

    @property
    def radii(self) -> dict[float, float]:
        """The radius of each ball that is not left out, by its norm: infinity, 2 and 1."""
        every = {math.inf: self.l_inf, 2.0: self.l2, 1.0: self.l1}
        return {p: float(radius) for p, radius in every.items() if radius}

    def check(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` where a parameter makes no sense."""
        for name in ("l_inf", "l2", "l1"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool):
                raise TypeError(f"{name} must be a number; got {value!r}.")
            if not (math.isfinite(value) and float(value) >= 0):
                raise ValueError(f"{name} is a radius, finite and at least 0; got {value!r}.")
        for name, least in (("n_steps", 1), ("n_restarts", 0), ("random_state", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")
        if self.bounds is not None and not (len(self.bounds) == 2 and self.bounds[0] < self.bounds[1]):
            raise ValueError(f"bounds are the least and the largest number of an input; got {self.bounds!r}.")

    def on(self, objective: Objective, state: Any, batch: Batch) -> Batch:
        """Return a batch whose inputs are changed for the worst of a state, in the module's present mode.

        Parameters
        ----------
        objective : Objective
            Architecture and data.
        state : State
            All tensors of the module by name.
        batch : Batch
            Labelled rows, whose inputs are one tensor of floating-point numbers.

        Returns
        -------
        Batch
            New inputs, and the same targets and weights.
        """
        return self.prepared(objective)(lambda x: objective.forward(state, x), batch)

    def prepared(self, objective: Objective) -> Callable[[Forward, Batch], Batch]:
        """Return the function that attacks a batch, for what gives the outputs for inputs.

        Parameters
        ----------
        objective : Objective
            Has the criterion, and the rows that bounds are taken from where they are not given.

        Returns
        -------
        callable
            ``attacked(forward, batch)``.
        """
        self.check()
        if not self.radii:
            return lambda forward, batch: batch
        low, high = self.bounds or _range_of(objective)
        generator = torch.Generator().manual_seed(int(self.random_state))

        def attacked(forward: Forward, batch: Batch) -> Batch:
            x = _perturbable(batch)
            if self.bounds is not None and not (x >= low).all() & (x <= high).all():
                raise ValueError(
                    f"Inputs go from {float(x.min()):.6g} to {float(x.max()):.6g}, beyond bounds={self.bounds!r} of "
                    "the attack: give the bounds of the inputs as the network gets them."
                )
            room = (x.new_tensor(low) - x).clamp(max=0), (x.new_tensor(high) - x).clamp(min=0)
            return Batch(x + self._worst(objective, forward, batch, x, room, generator), batch.y, batch.weight)

        return attacked

    def _worst(
        self,
        objective: Objective,
        forward: Forward,
        batch: Batch,
        x: Tensor,
        room: tuple[Tensor, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """Return the changes of the inputs of all rows that gave each the highest loss."""

        def losses(change: Tensor) -> Tensor:
            return losses_of_rows(objective, forward(x + change), batch)

        worst, highest = torch.zeros_like(x), torch.full((len(x),), -math.inf, device=x.device)
        for change in self._starts(x, room, generator):
            for step in range(self.n_steps + 1):
                moving = change.detach().requires_grad_()
                with torch.enable_grad():
                    here = losses(moving)
                    slope = torch.autograd.grad(here.sum(), moving)[0] if step < self.n_steps else None
                higher = here.detach() > highest
                worst, highest = _where(higher, change, worst), torch.where(higher, here.detach(), highest)
                if slope is not None:
                    change = self._step(change, slope, room, losses)
        return worst

    def _starts(self, x: Tensor, room: tuple[Tensor, Tensor], generator: torch.Generator) -> Iterator[Tensor]:
        """Yield no change, and random ones, each in one of the balls."""
        yield torch.zeros_like(x)
        for k in range(self.n_restarts):
            p, radius = [*self.radii.items()][k % len(self.radii)]
            noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
            length = torch.linalg.vector_norm(noise.flatten(1), p, dim=1)
            share = torch.rand(len(x), generator=generator, dtype=torch.float64).to(x) * radius / length
            yield projected(noise * _as_column(share, x), p, radius, room)

    def _step(
        self, change: Tensor, slope: Tensor, room: tuple[Tensor, Tensor], losses: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return the changes after a step; of several balls each row takes the one with its highest loss."""
        moved = []
        for p, radius in self.radii.items():
            length = _FIRST * radius / self.n_steps
            moved.append(projected(change + length * STEPS[p](slope, change, room), p, radius, room))
        if len(moved) == 1:
            return moved[0]
        with torch.no_grad():
            best = torch.stack([losses(candidate) for candidate in moved]).argmax(0)
        return torch.stack(moved)[best, torch.arange(len(change), device=change.device)]


def losses_of_rows(objective: Objective, out: Tensor, batch: Batch) -> Tensor:
    """Return the loss of each row: its negative log-likelihood, or what the criterion gives for it alone."""
    if objective.likelihood is not None:
        return -objective.likelihood.log_prob(out, batch.y)
    assert objective.criterion is not None
    rows = (take(batch, torch.tensor([k])) for k in range(len(out)))
    return torch.stack([objective.criterion(out[k : k + 1], row) for k, row in enumerate(rows)])


def _perturbable(batch: Batch) -> Tensor:
    """Return the inputs of a batch, or raise ``ValueError`` where they cannot be changed a little."""
    if not isinstance(batch.x, Tensor):
        raise ValueError(
            f"An attack changes inputs that are one tensor, and these come by name: {[*batch.x]}. Wrap the module in "
            "one that takes the tensor to attack, and holds the others."
        )
    if not batch.x.is_floating_point():
        raise ValueError(
            f"An attack changes inputs by small amounts, and these are integers ({batch.x.dtype}), such as codes of "
            "words or categories. Attack what an embedding gives for them, or convert numbers to floats."
        )
    if batch.y is None:
        raise ValueError("An attack raises the loss of labelled rows, and the labels are missing: a batch has y=None.")
    return batch.x.detach()


def _range_of(objective: Objective) -> tuple[float, float]:
    """Return the least and the largest number among the inputs of an objective."""
    low, high = math.inf, -math.inf
    for batch in _rows_of(objective):
        x = _perturbable(batch._replace(y=batch.y if batch.y is not None else torch.zeros(0)))
        low, high = min(low, float(x.min())), max(high, float(x.max()))
    return low, high


def _rows_of(objective: Objective) -> Iterable[Batch]:
    yield from objective.batches()
    yield from objective.held_out() if objective.held_out is not None else ()


def _as_column(values: Tensor, like: Tensor) -> Tensor:
    """Return a number a row in the shape that multiplies inputs row by row."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _where(rows: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(_as_column(rows, a), a.detach(), b)
