"""Straight-through matching: permutations are learned by the loss of the midpoint (Ainsworth et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from skfusion._batches import counting, without_single_rows
from skfusion._random import seed_scope
from skfusion.align._base import Aligner, PermutationAlignment, given_symmetry
from skfusion.align.permutation._match import Match
from skfusion.align.permutation._midpoint import by_batch_statistics, loss_of, midpoint_loss
from skfusion.align.permutation._weight_matching import WeightMatching, sweeps
from skfusion.objective import Objective
from skfusion.state import State, check_compatible, distance, owners, weighted_sum
from skfusion.symmetry import Permutations, Symmetry

_MAX_SWEEPS = 100


class StraightThrough(Aligner):
    r"""Learn the permutations under which the mean of two networks has a low training loss (STE re-basin).

    A surrogate :math:`\tilde\theta` of the moved network is trained, and each time the permutation is that which
    brings the state nearest to it:

    .. math:: \min_{\tilde\theta} \; L\big(\tfrac12 \theta^A + \tfrac12 \pi \theta^B\big), \qquad
        \pi = \arg\min_\pi \lVert \tilde\theta - \pi \theta^B \rVert

    The loss does not see :math:`\tilde\theta`. Its gradient in :math:`\pi \theta^B`, half of that at the midpoint, is
    passed straight through to it.

    Parameters
    ----------
    n_epochs : int, default=10
        Passes over the training data.
    lr : float, default=0.1
        Learning rate of SGD with momentum. With a small one no unit ever moves; a large one forgets where it began.
    momentum : float, default=0.9
        Momentum of SGD.
    random_state : int, default=0
        Seed of the order of the rows, and of the groups.

    Notes
    -----
    Each batch costs a forward and a backward pass, and a match by weights from the permutations before, with an
    assignment of at most n³ operations for each group of n units: much more than :class:`WeightMatching`, which it
    starts from. Six states are in memory.

    It is trained on the rows that networks are trained on, not on those that they are judged on, and the permutations
    after the epoch with the least loss on these rows are returned, or those of :class:`WeightMatching` if they are
    better. The authors take the least loss of a batch. Dropout is off, and BatchNorm uses the statistics of the batch.
    ``history`` has the negative loss of the midpoint with the units as they are, as weights match them, and after each
    epoch the best so far. A copy of the reference is brought back to it, and nothing is trained.

    References
    ----------
    Ainsworth et al., "Git Re-Basin: merging models modulo permutation symmetries", ICLR 2023, arXiv:2209.04836
    (algorithm 2).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.align import StraightThrough
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> from skfusion.tracing import symmetry_of
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).eval()
    >>> x = torch.randn(100, 3)
    >>> a, b = ({k: torch.randn_like(v) for k, v in net.state_dict().items()} for _ in range(2))
    >>> data = ModuleObjective(
    ...     net,
    ...     lambda: [Batch(x, (x[:, 0] > 0).long())],
    ...     criterion=lambda out, batch: nn.functional.cross_entropy(out, batch.y),
    ... )
    >>> alignment = StraightThrough()(b, a, symmetry_of(net, x), data)
    >>> alignment.history[-1] >= alignment.history[1]  # the negative loss of the midpoint
    True
    """

    needs_objective: ClassVar[bool] = True
    _test_sets = ({"n_epochs": 3}, {"n_epochs": 2, "lr": 0.5, "momentum": 0.0})

    def __init__(self, n_epochs: int = 10, lr: float = 0.1, momentum: float = 0.9, random_state: int = 0):
        self.n_epochs = n_epochs
        self.lr = lr
        self.momentum = momentum
        self.random_state = random_state

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        return {"check_alignment_does_not_depend_on_the_batches": "it is trained on one batch after another"}

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        self._check()
        if objective is None or objective.criterion is None:
            raise ValueError(
                "StraightThrough trains on labelled rows: give it an objective with a criterion and labels."
            )
        check_compatible([reference, state])
        start = WeightMatching(random_state=self.random_state)(state, reference, symmetry)
        moved = start.apply(state)
        if not symmetry.groups or distance(moved, reference) == 0:
            return start
        device = next(iter(reference.values())).device
        with seed_scope(self.random_state, device), by_batch_statistics(objective.module):
            losses = [midpoint_loss(objective, reference, s) for s in (state, moved)]
            best: Permutations = start
            for perms in self._trained(moved, reference, symmetry, objective):
                found = symmetry.compose(start, perms)
                losses.append(midpoint_loss(objective, reference, symmetry.permute(found, state)))
                if losses[-1] < min(losses[1:-1]):
                    best = found
        history = [-losses[0], *(-np.fmin.accumulate(losses[1:])).tolist()]
        return PermutationAlignment(best, symmetry, history)

    def _check(self) -> None:
        if self.n_epochs < 0:
            raise ValueError(f"n_epochs must be at least 0; got {self.n_epochs!r}.")
        if not (math.isfinite(self.lr) and self.lr > 0 and 0 <= self.momentum < 1):
            raise ValueError(f"lr must be above 0, and momentum at least 0 and below 1; got {self!r}.")

    def _trained(
        self, state: State, reference: State, symmetry: Symmetry, objective: Objective
    ) -> Iterator[Permutations]:
        """Yield the permutations of a state after each epoch in which they have changed."""
        match = Match(state, reference, symmetry)
        rng = np.random.default_rng(self.random_state)
        surrogate = {n: t.clone().requires_grad_() for n, t in match.a.items()}
        if not surrogate:
            return
        optimizer = torch.optim.SGD(surrogate.values(), self.lr, self.momentum)
        for epoch in range(self.n_epochs):
            before, seen = match.perms, 0
            for batch in without_single_rows(counting(objective.training())):
                projected = symmetry.permute(match.perms, state)
                with torch.enable_grad():
                    middle = midpoint(reference, projected, surrogate)
                    loss = loss_of(objective, middle, batch)
                    slopes = torch.autograd.grad(loss, [*surrogate.values()], allow_unused=True)
                for tensor, slope in zip(surrogate.values(), slopes, strict=True):
                    tensor.grad = torch.zeros_like(tensor) if slope is None else slope
                optimizer.step()
                match.a = {n: t.detach() for n, t in surrogate.items()}
                if not all(bool(t.isfinite().all()) for t in match.a.values()):
                    raise ValueError(
                        f"The training of {self!r} diverged in epoch {epoch + 1}: give it a smaller lr than {self.lr}."
                    )
                [*sweeps(match, _MAX_SWEEPS, rng)]
                seen += 1
            if not seen:
                raise ValueError("StraightThrough trains on labelled rows, and the objective has none.")
            if any((match.perms[g] != before[g]).any() for g in before):
                yield match.perms


def midpoint(reference: State, projected: State, surrogate: State) -> State:
    """Return the mean of two states; gradients in the second one are passed to the surrogate, as if it were that."""
    owner, middle = owners([reference, projected]), weighted_sum([reference, projected], [0.5, 0.5])
    for n, t in surrogate.items():
        here = projected[n].to(t) + t - t.detach()
        middle[n] = ((reference[n].to(t) + here) / 2).to(reference[n].dtype)
    by_owner = {owner[n]: middle[n] for n in surrogate}
    return {n: by_owner.get(o, middle[n]) for n, o in owner.items()}
