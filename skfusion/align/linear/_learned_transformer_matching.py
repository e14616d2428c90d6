"""Learned transformer matching: rotations under which the loss is low on the line between two transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from skfusion._numbers import wide
from skfusion.align._base import Aligner, Alignment, given_symmetry
from skfusion.align.linear._alignment import LinearAlignment
from skfusion.align.linear._transformer_matching import TransformerMatching
from skfusion.objective import Batch, Objective, evaluating
from skfusion.state import State, map_tensors
from skfusion.symmetry import LinearKind, Symmetry, canonicalise, without_mean


class LearnedTransformerMatching(Aligner):
    r"""Match transformers as :class:`TransformerMatching`, then learn rotations that lower the loss between them.

    .. math:: \min_{S = -S^\top} \; E_{t} \, L\big((1 - t)\, N(\theta^A) + t\, e^{S} g N(\theta^B)\big),
       \quad t \sim U(0, 1)

    g is what :class:`TransformerMatching` finds; its permutations stay. The exponential of a skew-symmetric matrix is a
    rotation: one of the residual stream, one for the queries and keys of each head, one for its values and outputs. So
    the function of the second network stays exactly what it is, and only the way to it changes.

    Parameters
    ----------
    n_steps : int, default=200
        Mini-batches. More lower the loss on the line.
    lr : float, default=0.02
        Learning rate of Adam, which falls linearly; an angle changes by about as much in a step.
    random_state : int, default=0
        Seed of the positions t, and of the order of the groups.

    Notes
    -----
    A step costs a step of training and, for a stream of width d, an exponential, of d³. It needs labelled rows to train
    on. A network without rotations is matched by :class:`TransformerMatching` alone.

    References
    ----------
    Theus et al., "Generalized linear mode connectivity for transformers", NeurIPS 2025, arXiv:2506.22712 (learned
    matching; it projects matrices that are trained freely, and learns permutations too).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.align import LearnedTransformerMatching
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> from skfusion.state import distance
    >>> from skfusion.symmetry import canonicalise
    >>> from skfusion.tracing import symmetry_of
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    >>> net = nn.Sequential(nn.Linear(3, 8), layer, nn.LayerNorm(8), nn.Linear(8, 2)).eval()
    >>> rows = [Batch(torch.randn(4, 5, 3), torch.zeros(4, 5, 2))]
    >>> objective = ModuleObjective(
    ...     net, lambda: rows, criterion=lambda out, batch: (out - batch.y).square().mean()
    ... )
    >>> a, b = ({k: torch.randn_like(v) for k, v in net.state_dict().items()} for _ in range(2))
    >>> symmetry = symmetry_of(net, rows[0].x, general=True)
    >>> alignment = LearnedTransformerMatching(n_steps=5)(b, a, symmetry, objective)
    >>> len(alignment.maps)
    3
    """

    needs_general: ClassVar[bool] = True
    needs_objective: ClassVar[bool] = True
    _test_sets = ({"n_steps": 3},)

    def __init__(self, n_steps: int = 200, lr: float = 0.02, random_state: int = 0):
        self.n_steps = n_steps
        self.lr = lr
        self.random_state = random_state

    def __call__(
        self, state: State, reference: State, symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> LinearAlignment:
        """Return the alignment with the canonical form of ``reference``; see :meth:`Aligner.__call__`."""
        symmetry = given_symmetry(self, symmetry)
        if self.n_steps < 1 or not self.lr > 0:
            raise ValueError(f"n_steps is at least 1 and lr positive; got {self!r}.")
        start = TransformerMatching(random_state=self.random_state)(state, reference, symmetry)
        turning = {g: k for g, k in _kinds(symmetry).items() if k.kind in ("orthogonal", "invertible")}
        a = canonicalise(map_tensors(wide, reference), symmetry)
        b = start.apply(map_tensors(wide, state))
        if not turning or all(torch.equal(a[n], b[n]) for n in a):
            return start
        if objective is None or objective.criterion is None:
            raise ValueError(
                f"{self!r} trains on labelled rows: give it an objective with a criterion and labels. "
                "TransformerMatching() needs no data."
            )
        turns, losses = self._learned(a, b, reference, symmetry, turning, objective)
        maps = {g: m @ start.maps[g].to(m) if g in start.maps else m for g, m in turns.items()}
        return LinearAlignment(start.permutations, {**start.maps, **maps}, symmetry, losses)

    def align_all(
        self, states: Sequence[State], symmetry: Symmetry | None = None, objective: Objective | None = None
    ) -> list[Alignment]:
        """Return an alignment for each state, of the first one to its canonical form; see :meth:`Aligner.align_all`."""
        symmetry = given_symmetry(self, symmetry)
        unmoved = TransformerMatching().align_all(states[:1], symmetry)
        return [*unmoved, *(self(state, states[0], symmetry, objective) for state in states[1:])]

    def _learned(
        self,
        a: State,
        b: State,
        like: State,
        symmetry: Symmetry,
        turning: dict[str, LinearKind],
        objective: Objective,
    ) -> tuple[dict[str, Tensor], list[float]]:
        """Return rotations by group, and the loss of each step; states are of the dtypes of another one."""
        assert symmetry.linear is not None
        assert objective.criterion is not None
        skew = {g: _zeros(kind, a).requires_grad_() for g, kind in turning.items()}
        optimizer = torch.optim.Adam(skew.values(), lr=self.lr)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, self.n_steps)
        rng = torch.Generator().manual_seed(self.random_state)
        losses: list[float] = []
        with evaluating(objective.module), torch.enable_grad():
            for _, batch in zip(range(self.n_steps), _endless(objective), strict=False):
                t = float(torch.rand((), generator=rng))
                turned = symmetry.linear.transform(_rotations(skew, turning), b)
                point = {
                    n: ((1 - t) * a[n] + t * turned[n]).to(like[n].dtype) if a[n].is_floating_point() else a[n]
                    for n in a
                }
                loss = objective.criterion(objective.forward(point, batch.x), batch)
                if not torch.isfinite(loss):
                    raise ValueError(
                        f"The loss between the networks is {float(loss.detach())} at step {len(losses)}: lower lr."
                    )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                decay.step()
                losses.append(float(loss.detach()))
        if not losses:
            raise ValueError(f"{self!r} trains on labelled rows, and the objective has none.")
        return {g: m.detach() for g, m in _rotations(skew, turning).items()}, losses


def _kinds(symmetry: Symmetry) -> dict[str, LinearKind]:
    return {} if symmetry.linear is None else dict(symmetry.linear.maps)


def _endless(objective: Objective) -> Iterator[Batch]:
    n = 1
    while n:
        n = 0
        for n, batch in enumerate(objective.training(), 1):  # noqa: B007
            yield batch


def _zeros(kind: LinearKind, state: State) -> Tensor:
    """Return the parameter of the identity: a matrix for each context, of which the skew-symmetric part counts."""
    n_contexts, n = kind.places[0][0].index.shape[:2]
    device = state[kind.places[0][0].tensor].device
    return torch.zeros(n_contexts, n - kind.keeps_mean, n - kind.keeps_mean, dtype=torch.float64, device=device)


def _rotations(skew: dict[str, Tensor], kinds: dict[str, LinearKind]) -> dict[str, Tensor]:
    out = {}
    for group, s in skew.items():
        rotation = torch.matrix_exp(s - s.mT)
        if kinds[group].keeps_mean:
            n = s.shape[-1] + 1
            basis = without_mean(n).to(s)
            rotation = basis @ rotation @ basis.mT + 1 / n
        out[group] = rotation
    return out
