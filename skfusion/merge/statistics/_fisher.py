"""Fisher merging (Matena & Raffel, 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skfusion._batches import drawn, n_rows, take
from skfusion.merge._base import Merger, check_states, shares, tied
from skfusion.merge.statistics._squares import Gradients, Squares
from skfusion.objective import Batch, Objective, evaluating
from skfusion.state import State, weighted_sum

_EXPECTATIONS = ("exact", "sampled", "empirical")
_MOST_ROWS = 256
_MOST_PULLS = 2**22  # numbers that the vectors of a piece may have


@dataclass(eq=False, repr=False)
class Fisher(Merger):
    r"""Average each parameter by how much each member's predictions depend on it.

    The weights are the diagonals of the members' Fisher information matrices on their own data:

    .. math:: \theta_j = \frac{\sum_k \lambda_k F_{kj} \theta_{kj}}{\sum_k \lambda_k F_{kj}}, \qquad
        F_{kj} = \frac{1}{n} \sum_x \operatorname{E}_{y \sim p(y \mid x; \theta_k)}
        \left( \frac{\partial \log p(y \mid x; \theta_k)}{\partial \theta_{kj}} \right)^2

    Parameters
    ----------
    expectation : {"exact", "sampled", "empirical"}, default="exact"
        How the expectation over labels is taken: exactly, which needs no labels; by one label a row that is drawn from
        the prediction, which is cheaper where there are many classes; or at the label that the row has, which is
        biased but the cheapest.
    n_examples : int, optional
        Rows to look at, drawn at random; all when omitted. More give less noise at more cost; a few hundred are usual.
    floor : float, default=1e-6
        Least value of F. A larger one draws parameters that matter little to any member to the plain mean.
    normalise : bool, default=False
        Divide each F by its norm over all parameters, before the floor, so that members whose gradients are larger do
        not weigh more.
    weights : sequence of float, optional
        Non-negative importance of each member, shape (K,), in any unit. A larger value pulls the result towards that
        member; equal when omitted.
    random_state : int, default=0
        Seed of the rows and of the labels that are drawn.

    Notes
    -----
    Costs two forward passes of n rows of each of K members and, for C classes, n C backward passes where the
    expectation is exact, n otherwise. The gradients are those of single rows. They are squared without being made for
    linear layers that see one vector a row; all others are made together, or row by row where the module does not allow
    that. Memory is for three states in float64, and at least one gradient.

    Where every F is at the floor, the result is the weighted mean of the members, and networks that are sure of their
    predictions have many such parameters: the share of all F at the floor is reported as ``share_at_floor``. The
    original code may apply the floor to the first member only, which then wins where no member cares. That would depend
    on the order of the members, so it is not offered here: give that member a larger weight. Buffers, among them the
    statistics of BatchNorm, become weighted means. A head that the objective holds for a member has no part in it.

    References
    ----------
    Matena and Raffel, "Merging models with Fisher-weighted averaging", NeurIPS 2022, arXiv:2111.09832.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import Fisher
    >>> from skfusion.objective import Batch, Likelihood, ModuleObjective
    >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> data = ModuleObjective(
    ...     nn.Linear(2, 1, bias=False),
    ...     lambda: [],
    ...     likelihood=Likelihood("gaussian", lambda out: out),
    ...     member_batches=(lambda: [Batch(x[:2], x[:2])], lambda: [Batch(x, x)]),
    ... )
    >>> states = [{"weight": torch.tensor([[0.0, 0.0]])}, {"weight": torch.tensor([[5.0, 5.0]])}]
    >>> Fisher()(states, objective=data)["weight"].round(decimals=3).tolist()
    [[2.0, 5.0]]
    """

    expectation: str = "exact"
    n_examples: int | None = None
    floor: float = 1e-6
    normalise: bool = False
    weights: Sequence[float] | None = None
    random_state: int = 0

    needs_objective: ClassVar[bool] = True
    _test_sets = (
        {},
        {"expectation": "sampled", "n_examples": 12, "normalise": True, "floor": 0.0},
        {"expectation": "empirical"},
    )

    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the mean by Fisher information; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        if self.expectation not in _EXPECTATIONS:
            raise ValueError(f"expectation must be one of {[*_EXPECTATIONS]}; got {self.expectation!r}.")
        if not (math.isfinite(self.floor) and self.floor >= 0):
            raise ValueError(f"floor must be finite and at least 0; got {self.floor}.")
        if objective is None:
            raise ValueError("Fisher differentiates predictions on data; give it an objective.")
        importance = shares("Fisher", self.weights, len(states))
        owner = tied(states, objective.module)
        held = {name for name, _ in objective.module.named_parameters(remove_duplicate=False)}
        names = [k for k, t in states[0].items() if k in held and owner[k] == k and t.is_floating_point()]
        top: State = {name: torch.zeros_like(states[0][name], dtype=torch.float64) for name in names}
        bottom = {name: t.clone() for name, t in top.items()}
        low = 0
        for k, (state, share) in enumerate(zip(states, importance, strict=True)):
            if share == 0:
                continue
            fisher = self._diagonal(state, objective.of_member(k), owner, names)
            if self.normalise:
                norm = math.sqrt(sum(float(f.square().sum()) for f in fisher.values()))
                if norm == 0:
                    raise ValueError(
                        f"The Fisher information of member {k} is 0, so it cannot be normalised: take normalise=False."
                    )
                fisher = {name: f / norm for name, f in fisher.items()}
            low += sum(int((f <= self.floor).sum()) for f in fisher.values())
            for name, f in fisher.items():
                f = share * f.clamp_min(self.floor)
                top[name] += f * state[name].detach().to(f)
                bottom[name] += f
        n_fishers = sum(t.numel() for t in top.values()) * sum(share > 0 for share in importance)
        objective.report("share_at_floor", low / max(1, n_fishers))
        mean = weighted_sum(states, importance)
        merged = {}
        for name, f in bottom.items():  # the mean, where no member has any Fisher information
            merged[name] = torch.where(f > 0, top[name] / f, mean[name].double()).to(mean[name].dtype)
        return {key: merged.get(owner[key], value) for key, value in mean.items()}

    def _diagonal(self, state: State, objective: Objective, owner: dict[str, str], names: Sequence[str]) -> State:
        """Return the diagonal of the Fisher information of one member, in float64."""
        if objective.likelihood is None:
            raise ValueError("Fisher needs to know what the outputs mean; give the objective a likelihood.")
        generator = torch.Generator().manual_seed(self.random_state)
        gradients = Gradients(objective, objective.likelihood, state, owner, tuple(names))
        with evaluating(objective.module), torch.enable_grad():
            rows = drawn(objective.batches, self.n_examples, generator)
            return mean_squares(gradients, rows, self.expectation, generator)


def mean_squares(gradients: Gradients, batches: Iterable[Batch], expectation: str, generator: torch.Generator) -> State:
    """Return the mean over rows of the expected squared gradient of the log-likelihood (see `Fisher`), in float64."""
    total = {name: torch.zeros_like(gradients.state[name], dtype=torch.float64) for name in gradients.names}
    squares, mass = Squares(gradients), 0.0
    for batch in batches:
        weight = torch.ones(n_rows(batch.x)) if batch.weight is None else batch.weight
        mass += float(weight.double().sum())
        with torch.no_grad():
            z = gradients.logits({}, batch.x)
        width = z.shape[1] ** 2 if expectation == "exact" else z.shape[1]
        for index in torch.split(torch.arange(len(z)), min(_MOST_ROWS, max(1, _MOST_PULLS // width))):
            piece = take(batch, index)
            pulls = cotangents(gradients.likelihood.kind, z[index], piece.y, expectation, generator)
            pulls = pulls * weight[index].to(pulls).sqrt()[:, None, None]
            for name, value in squares(piece.x, pulls.to(z.dtype)).items():
                total[name] += value
    if not mass > 0:
        raise ValueError("Fisher information needs rows of positive weight, and the objective has none.")
    return {name: value / mass for name, value in total.items()}


def cotangents(
    kind: str, z: Tensor, y: Tensor, expectation: str, generator: torch.Generator
) -> Tensor:  # z, shape: (n_rows, n_outputs)
    r"""Return vectors :math:`v` with :math:`\sum_v (v^\top \partial z)^2` the Fisher of a row, in float64.

    For given labels v is the gradient by the logits, ``y - p``. The expectation over classes takes one vector a class,
    scaled by the root of its probability; over independent labels or values, one each: (n_rows, n_vectors, n_outputs).
    """
    z = z.detach().double()
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    p = z.softmax(1) if kind == "categorical" else z.sigmoid() if kind == "bernoulli" else z
    if expectation == "exact":
        if kind == "categorical":
            return p.sqrt()[:, :, None] * (eye - p[:, None, :])
        spread = p * (1 - p) if kind == "bernoulli" else torch.ones_like(p)
        return torch.diag_embed(spread.sqrt())
    if expectation == "empirical":
        target = eye[y.reshape(-1).long()] if kind == "categorical" else y.reshape(p.shape).to(p)
    else:
        target = _sample(kind, p.cpu(), generator).to(p)
    return (target - p)[:, None]


def _sample(kind: str, p: Tensor, generator: torch.Generator) -> Tensor:
    if kind == "categorical":
        return torch.eye(p.shape[1])[torch.multinomial(p, 1, generator=generator).squeeze(1)]
    if kind == "bernoulli":
        return torch.bernoulli(p, generator=generator)
    return p + torch.randn(p.shape, generator=generator, dtype=p.dtype)
