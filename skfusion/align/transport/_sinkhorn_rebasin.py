"""Sinkhorn re-basin: permutations are learned by gradients, through doubly stochastic matrices (Pena et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from skfusion._batches import counting, without_single_rows
from skfusion._coupling import assigned
from skfusion._random import seed_scope
from skfusion.align._base import Aligner, PermutationAlignment, given_symmetry
from skfusion.align.permutation._midpoint import by_batch_statistics, loss_of, midpoint_loss
from skfusion.align.transport._sinkhorn_layer import sinkhorn_layer
from skfusion.objective import Objective
from skfusion.state import State, check_compatible, distance, is_statistic
from skfusion.symmetry import Permutations, Symmetry, mapped

LOSSES = ("l2", "midpoint", "random")
_LOOK = 5
"""Steps between two looks at the permutations, where no data is needed; assignments cost more than steps."""


class SinkhornRebasin(Aligner):
    r"""Learn the permutations by gradient descent (Sinkhorn re-basin).

    Each group has a free matrix X, of which Sinkhorn's iteration makes a doubly stochastic one, a soft permutation

    .. math:: S_\tau(X) = \mathrm{diag}(u) \exp(X / \tau)\, \mathrm{diag}(v)
       \quad\text{with}\quad S \mathbf 1 = S^\top \mathbf 1 = \mathbf 1.

    The state is mapped by all of them, and X descends a loss of the result by AdamW. In the end each matrix gives the
    permutation that is nearest to it. Of the permutations on the way, and the identity, the best one is returned.

    Parameters
    ----------
    loss : {"l2", "midpoint", "random"}, default="l2"
        What is minimised: the squared distance of the weights, for which no data is needed; or the loss on labelled
        rows halfway between the two networks, or at a random place between them.
    n_steps : int, default=200
        Steps of the optimiser, at most.
    lr : float, default=0.1
        Its learning rate.
    tau : float, default=1.0
        Temperature. A smaller one makes soft permutations harder, and gradients vanish sooner.
    n_iter : int, default=20
        Steps of Sinkhorn's iteration.
    random_state : int, default=0
        Seed of the noise at the start, and of the places between the networks.

    Notes
    -----
    For each step and each group of n units, ``n_iter`` times n² for the soft permutation, and a linear system of n
    unknowns for its gradient, which is that of the end of the iteration; the networks are mapped once, and run once on
    a batch where the loss needs data. The loss of a soft permutation is not that of a permutation: which is best is
    judged by the distance of the weights, or by the loss halfway on all rows to fit on, once an epoch. Dropout is off,
    and BatchNorm uses the statistics of the batch. By the distance a copy with its units in another order is brought
    back; by a loss on data it need not be, and the result depends on how rows are cut into batches.

    References
    ----------
    Pena et al., "Re-basin via implicit Sinkhorn differentiation", CVPR 2023, arXiv:2212.12042. Eisenberger et al., "A
    unified framework for implicit Sinkhorn differentiation", CVPR 2022, arXiv:2205.06688.

    Examples
    --------
    >>> import torch
    >>> from skfusion.align import SinkhornRebasin
    >>> from skfusion.symmetry import Symmetry
    >>> axes = {"0.weight": ("hidden", None), "1.weight": (None, "hidden")}
    >>> a = {"0.weight": torch.randn(8, 3), "1.weight": torch.randn(2, 8)}
    >>> symmetry = Symmetry.of_axes(axes, a)
    >>> b = symmetry.permute(symmetry.sample(0), a)
    >>> alignment = SinkhornRebasin()(b, a, symmetry)
    >>> torch.equal(alignment.apply(b)["0.weight"], a["0.weight"])
    True
    """

    _test_sets = (
        {},
        {"n_steps": 60, "lr": 0.3, "tau": 0.5},
        {"loss": "midpoint", "n_steps": 12, "lr": 0.3},
        {"loss": "random", "n_steps": 12, "lr": 0.3},
    )

    def __init__(
        self,
        loss: str = "l2",
        n_steps: int = 200,
        lr: float = 0.1,
        tau: float = 1.0,
        n_iter: int = 20,
        random_state: int = 0,
    ):
        self.loss = loss
        self.n_steps = n_steps
        self.lr = lr
        self.tau = tau
        self.n_iter = n_iter
        self.random_state = random_state

    def _test_skips(self) -> dict[str, str]:
        if self.loss == "l2":
            return {}
        nearest = "the loss halfway may be as low at other permutations, and has been descended for some steps only"
        return {
            "check_planted_permutation_is_recovered": nearest,
            "check_copies_are_aligned_with_one_another": nearest,
            "check_alignment_does_not_depend_on_the_batches": "it is trained on one batch after another",
        }

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> PermutationAlignment:
        """Return the permutations; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        self._check(objective)
        check_compatible([reference, state])
        learned = _Learned(self, state, reference, symmetry)
        if symmetry.groups and distance(state, reference) > 0:
            with torch.enable_grad():
                if self.loss == "l2":
                    learned.by_weights()
                else:
                    assert objective is not None
                    device = next(iter(reference.values())).device
                    with seed_scope(self.random_state, device), by_batch_statistics(objective.module):
                        learned.by_data(objective)
        return PermutationAlignment(learned.best, symmetry, learned.history)

    def _check(self, objective: Objective | None) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {[*LOSSES]}; got {self.loss!r}.")
        if self.n_steps < 1 or self.n_iter < 1 or not all(0 < v < math.inf for v in (self.lr, self.tau)):
            raise ValueError(f"n_steps and n_iter are at least 1, lr and tau above 0; got {self!r}.")
        if self.loss != "l2" and (objective is None or objective.criterion is None):
            raise ValueError(f"{self!r} minimises a loss on labelled rows: give an objective with a criterion.")


class _Learned:
    """The free matrices of all groups, and the best permutations so far."""

    def __init__(self, settings: SinkhornRebasin, state: State, reference: State, symmetry: Symmetry):
        self.settings, self.symmetry = settings, symmetry
        self.state, self.reference = state, reference
        self.names = [n for n in symmetry.parameters if reference[n].is_floating_point()]
        wide = any(reference[n].dtype is torch.float64 for n in self.names)
        dtype = torch.float64 if wide else torch.float32
        device = next((reference[n].device for n in self.names), torch.device("cpu"))
        self.rng = torch.Generator().manual_seed(settings.random_state)
        self.free: dict[str, Tensor] = {}
        for name, p in symmetry.identity().items():
            start = torch.eye(p.shape[-1], dtype=dtype).expand(*p.shape, p.shape[-1])
            noise = torch.randn(start.shape, generator=self.rng, dtype=torch.float64).to(dtype)
            self.free[name] = (start + 0.1 * noise).to(device).requires_grad_()
        self.optimizer = torch.optim.AdamW(self.free.values(), lr=settings.lr, weight_decay=0.0) if self.free else None
        self.best: Permutations = symmetry.identity()
        self.least = math.inf
        self.history: list[float] = []

    def mapped(self, names: Iterable[str]) -> State:
        """Return tensors of the state that are mapped by the soft permutations."""
        s, settings = self.symmetry, self.settings
        soft = {g: sinkhorn_layer(x, settings.tau, settings.n_iter) for g, x in self.free.items()}
        pairs = {g: (x, x.mT) for g, x in soft.items()}
        return {n: mapped(self.state[n], s.axes[n], s.roles[n], s.groups, pairs) for n in names}

    def step(self, loss: Tensor) -> None:
        """Take a step of the optimiser."""
        assert self.optimizer is not None
        gradients = torch.autograd.grad(loss, [*self.free.values()], allow_unused=True)
        for x, gradient in zip(self.free.values(), gradients, strict=True):
            x.grad = gradient
        self.optimizer.step()

    def hard(self) -> Permutations:
        """Return the permutations that are nearest to the free matrices."""
        perms = {}
        for name, x in self.free.items():
            worth = x.detach().double().cpu().numpy()
            flat = worth.reshape(-1, *worth.shape[-2:])
            perms[name] = np.stack([assigned(w) for w in flat]).reshape(worth.shape[:-1])
        return perms

    def keep(self, perms: Permutations, value: float) -> None:
        """Keep the permutations if they are the best so far."""
        if value < self.least:
            self.best, self.least = perms, value

    def by_weights(self) -> None:
        """Minimise the mean squared distance of the weights."""
        target = {n: self.reference[n].detach() for n in self.names}
        self.keep(self.best, self.distance(self.best))
        seen = None
        for number in range(1, self.settings.n_steps + 1):
            moved = self.mapped(self.names)
            loss = torch.stack([(moved[n] - target[n]).square().sum() for n in self.names]).sum()
            loss = loss / sum(t.numel() for t in target.values())
            self.history.append(float(loss.detach()))
            self.step(loss)
            if number % _LOOK and number < self.settings.n_steps:
                continue
            perms = self.hard()
            if seen is None or any(not np.array_equal(p, seen[g]) for g, p in perms.items()):
                self.keep(perms, self.distance(perms))
                seen = perms
            if self.least == 0:
                return

    def distance(self, perms: Permutations) -> float:
        """Return the squared distance of the weights under permutations."""
        moved = self.symmetry.permute(perms, self.state)
        return sum(float((moved[n].double() - self.reference[n].double()).square().sum()) for n in self.names)

    def by_data(self, objective: Objective) -> None:
        """Minimise the loss of a network between the two."""
        moving = [n for n, parts in self.symmetry.axes.items() if any(parts) and self.state[n].is_floating_point()]
        moving = [n for n in moving if not is_statistic(n)]  # in their place those of the batch are used
        self.keep(self.best, self.halfway(self.best, objective))
        done = 0
        while done < self.settings.n_steps:
            before, total = done, 0.0
            batches = without_single_rows(counting(objective.training()))
            for batch in islice(batches, self.settings.n_steps - done):
                place = 0.5 if self.settings.loss == "midpoint" else float(torch.rand((), generator=self.rng))
                loss = loss_of(objective, self.between(self.state | self.mapped(moving), place), batch)
                self.step(loss)
                total += float(loss.detach())
                done += 1
            if done == before:
                raise ValueError(f"{self.settings!r} minimises a loss on labelled rows, and the objective has none.")
            self.history.append(total / (done - before))
            if not all(bool(x.detach().isfinite().all()) for x in self.free.values()):
                raise ValueError(
                    f"The training of {self.settings!r} diverged in {done} steps: give it a smaller lr than "
                    f"{self.settings.lr}, or states whose losses are finite."
                )
            perms = self.hard()
            self.keep(perms, self.halfway(perms, objective))

    def between(self, moved: State, place: float) -> State:
        """Return the state at a place between the reference, at 0, and one that is mapped, at 1."""
        return {
            n: torch.lerp(self.reference[n].detach(), t, place) if t.is_floating_point() else self.reference[n]
            for n, t in moved.items()
        }

    def halfway(self, perms: Permutations, objective: Objective) -> float:
        """Return the mean loss halfway under permutations."""
        return midpoint_loss(objective, self.reference, self.symmetry.permute(perms, self.state))
