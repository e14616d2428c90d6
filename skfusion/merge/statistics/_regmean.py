"""RegMean: the weights with which each linear layer gives what the members' layers give (Jin et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skfusion._batches import drawn
from skfusion.merge._base import Merger, check_states, tied
from skfusion.merge.statistics._matrices import Matrix, Which, matrices, meant, pieces, watching
from skfusion.objective import Objective, evaluating
from skfusion.state import State, weighted_sum

_SHRINK = 0.9


@dataclass(eq=False, repr=False)
class RegMean(Merger):
    r"""Solve for each linear layer that is nearest to the members' layers on the members' own inputs.

    With the inputs :math:`X_k`, of shape (rows, features), that the layer has inside member k on that member's rows,

    .. math:: \min_W \sum_k \lVert X_k W^\top - X_k W_k^\top \rVert^2 \quad\Longrightarrow\quad
        W^\top = \Big( \sum_k G_k \Big)^{-1} \sum_k G_k W_k^\top, \qquad G_k = X_k^\top X_k

    Parameters
    ----------
    shrink : float or dict, default=0.9
        Factor of the off-diagonal elements of each Gram matrix, from 0 to 1. With 0, each input feature is averaged by
        its own mean square; a larger value takes more account of the correlations between features, which must be
        estimated well for that. The paper takes 0.9, and 0.1 for some language models. A dict has one for some layers,
        by what ``skip`` may hold; the first that means a layer counts, and all others have 0.9.
    normalise : bool, default=True
        Divide each Gram matrix by the number of its rows, so that members count equally. With False, they count by
        their rows, as if their data were pooled.
    ridge : float, default=1e-6
        Pull towards the mean of the members, as a share of the mean diagonal element. A larger value keeps the result
        nearer to the mean in directions in which the inputs hardly vary.
    n_examples : int, optional
        Rows of each member to look at, drawn at random; all when omitted. More estimate correlations better; a few
        hundred are usual.
    random_state : int, default=0
        Seed of the rows that are drawn.
    skip : sequence of (str or type), default=()
        Layers that become the plain mean, as the paper has it for some. A name, or a pattern such as
        ``"encoder.*.linear1"``, means the layers that are called so, and those in modules that are; a type of module,
        such as ``nn.Conv2d``, means layers of this type, and those in modules of it.

    Notes
    -----
    Costs a forward pass of each of K members over its rows, p² a row for a layer with p inputs, and a linear system of
    size p a layer; memory is 2 p² numbers for each layer. No labels are needed.

    Solved are ``nn.Linear``, the convolutions, whose rows are the patches that the kernel sees, group by group, and the
    four matrices of ``nn.MultiheadAttention``, which are called by its name and ``q_proj``, ``k_proj``, ``v_proj`` and
    ``out_proj``; all are reported as ``layers``. Rows that attention masks count, as in layers that see them. Where a
    layer has a bias, it is solved for with the weights, as that of a feature which is always 1; the paper averages it.
    All else becomes the plain mean: normalisation, embeddings, and layers whose weights are parametrised, or shared
    with other layers (such as a decoder that is tied to an embedding), or that no row reaches. For sample weights to
    count, the first axis of what a layer sees must be that of samples, or of samples times tokens in this order.

    References
    ----------
    Jin et al., "Dataless knowledge fusion by merging weights of language models", ICLR 2023, arXiv:2212.09849.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.merge import RegMean
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> rows = [torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]])]
    >>> each = [lambda x=x: [Batch(x, x)] for x in rows]
    >>> data = ModuleObjective(nn.Linear(2, 1, bias=False), lambda: [], member_batches=each)
    >>> states = [{"weight": torch.tensor([[0.0, 0.0]])}, {"weight": torch.tensor([[3.0, 4.0]])}]
    >>> RegMean(shrink=0.0)(states, objective=data)["weight"].round(decimals=3).tolist()
    [[2.0, 2.0]]
    """

    shrink: float | Mapping[Which, float] = _SHRINK
    normalise: bool = True
    ridge: float = 1e-6
    n_examples: int | None = None
    random_state: int = 0
    skip: Sequence[Which] = ()

    needs_objective: ClassVar[bool] = True
    _test_sets = ({}, {"shrink": 1.0, "normalise": False, "n_examples": 12}, {"shrink": {"*": 0.5}})

    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the state whose linear layers are solved for; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        if not (math.isfinite(self.ridge) and self.ridge >= 0):
            raise ValueError(f"ridge must be finite and at least 0; got {self.ridge}.")
        if objective is None:
            raise ValueError("RegMean looks at the inputs of layers; give it an objective.")
        owner = tied(states, objective.module)
        solvable = self._solvable(objective.module, owner)
        shrink = self._shrink_of(solvable, objective.module)
        mean = weighted_sum(states, [1 / len(states)] * len(states))
        left: dict[str, Tensor] = {}
        right: dict[str, Tensor] = {}
        for k, state in enumerate(states):
            for name, gram in self._grams(state, objective.of_member(k), solvable, shrink).items():
                off = gram @ (solvable[name].columns(state) - solvable[name].columns(mean))
                left[name] = left[name] + gram if name in left else gram
                right[name] = right[name] + off if name in right else off
        if not left:
            raise ValueError("RegMean looks at the inputs of layers, and no rows of positive weight reach any of them.")
        keys = [key for name in left for key in solvable[name].keys]
        if _alike(states, keys) and not _alike(states, [key for key, t in mean.items() if t.is_floating_point()]):
            raise ValueError(
                f"RegMean solves for layers whose inputs it sees, and members are equal in all {len(left)} of them, so "
                "that it would be the plain mean: use Uniform. Networks whose other weights are used by hand, as those "
                "of TangentFineTunes, cannot be merged by RegMean."
            )
        objective.report("layers", sorted(left))
        merged = dict(mean)
        for name in left:
            new = solvable[name].columns(mean) + solved(left[name], right[name], self.ridge)
            now = {key: merged[owner[key]] for key in solvable[name].keys}
            merged |= {owner[key]: t for key, t in solvable[name].written(new, now).items()}
        return {key: merged[owner[key]] for key in mean}

    def _solvable(self, module: nn.Module, owner: dict[str, str]) -> dict[str, Matrix]:
        """Return the matrices to solve for, by name."""
        every = matrices(module, owner)
        if not every:
            raise ValueError(
                "RegMean solves for linear layers, convolutions and attention, and the module has none whose weights "
                "are its own: use Uniform."
            )
        if isinstance(self.skip, (str, type)):
            raise TypeError(f"skip is a sequence of names and types, such as [{self.skip!r}]; got {self.skip!r}.")
        left_out = meant(self.skip, [*every], module, "skip")
        if len(left_out) == len(every):
            raise ValueError(f"skip={self.skip!r} leaves no layer to solve for, out of {[*every]}: use Uniform.")
        return {name: matrix for name, matrix in every.items() if name not in left_out}

    def _shrink_of(self, names: Iterable[str], module: nn.Module) -> dict[str, float]:
        """Return the factor of the off-diagonal elements for each of some layers."""
        factors: Mapping[Any, float] = self.shrink if isinstance(self.shrink, Mapping) else {"*": self.shrink}
        if wrong := [value for value in factors.values() if not 0 <= value <= 1]:
            raise ValueError(f"shrink must lie between 0 and 1; got {wrong[0]}.")
        which = meant([*factors], [*names], module, "shrink")
        return {name: factors[which[name]] if name in which else _SHRINK for name in names}

    def _grams(
        self, state: State, objective: Objective, solvable: dict[str, Matrix], shrink: dict[str, float]
    ) -> dict[str, Tensor]:
        """Return the shrunk Gram matrices of what one member's layers see: (n_groups, n_features, n_features)."""
        generator = torch.Generator().manual_seed(self.random_state)
        total: dict[str, Tensor] = {}
        mass: dict[str, float] = {}
        weight: Tensor | None = None

        def see(name: str, x: Tensor) -> None:
            for rows, w in pieces(solvable[name].layer, name, x, weight):
                gram = (rows * w[:, None]).mT @ rows
                total[name] = total[name] + gram if name in total else gram
                mass[name] = mass.get(name, 0.0) + float(w.sum())

        module = objective.module
        with watching(module, solvable, see), evaluating(module), torch.no_grad():
            for batch in drawn(objective.batches, self.n_examples, generator):
                weight = batch.weight
                objective.forward(state, batch.x)
        shrunk = {}
        for name, share in shrink.items():
            if mass.get(name, 0.0) > 0:
                gram = total[name] / mass[name] if self.normalise else total[name]
                shrunk[name] = share * gram + (1 - share) * torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
        return shrunk


def _alike(states: Sequence[State], keys: Iterable[str]) -> bool:
    """Return whether all states have the same tensors under some names."""
    return all(torch.equal(s[key], states[0][key]) for key in keys for s in states[1:])


def solved(gram: Tensor, right: Tensor, ridge: float) -> Tensor:
    """Return the solution of ``(gram + ridge * its mean diagonal) x = right``, the smallest one where there are many.

    Shapes are (n_groups, n_features, n_features) for the Gram matrices, and (n_groups, n_features, n_units).
    """
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    gram = gram + torch.diag_embed(ridge * diagonal.mean(-1, keepdim=True).expand_as(diagonal))
    factor, failed = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    singular = pivots.amin(-1) <= gram.shape[-1] * torch.finfo(gram.dtype).eps * pivots.amax(-1)
    out = torch.empty_like(right)
    for i, is_singular in enumerate((singular | (failed != 0)).tolist()):
        if is_singular:
            least = torch.linalg.lstsq(gram[i].cpu(), right[i].cpu(), driver="gelsd").solution
            out[i] = least.to(right.device)
        else:
            out[i] = torch.cholesky_solve(right[i], factor[i])
    return out
