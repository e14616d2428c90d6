"""TabM: one network for tables that is an ensemble of k members, which share nearly all weights.

The layers are our own and not those of the library ``tabm``. There each number that a column is encoded by is scaled by
itself, so that the first layer costs k times that of one network; here a column has one scale a member, so that the
products with the weights of the first layer, by far the largest one, are computed once for all members. The scales are
kept as differences from where they start, which the strong weight decay of these nets pulls them to. The forward pass
is written in functions that the vectorized trainer knows, so that several such networks can be trained as one; since a
network is a stack of k members already, that seldom pays on a CPU, and is done only where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skfusion.nets._table_inputs import TableInputs
from skfusion.nets._table_statistics import TableStatistics

_COLUMNS_AT_A_TIME = 32
"""Columns whose contributions to the first layer are in memory at a time."""


class _SharedLinear(nn.Module):
    r"""A linear layer of k members with one matrix W: :math:`y_k = s_k \odot W (r_k \odot x_k) + b_k`.

    ``r`` and ``s`` are kept less 1, where they start; all biases start as one.
    """

    def __init__(self, n_in: int, n_out: int, k: int):
        super().__init__()
        start = nn.Linear(n_in, n_out)
        self.weight = start.weight
        self.r, self.s = nn.Parameter(torch.zeros(k, n_in)), nn.Parameter(torch.zeros(k, n_out))
        self.bias = nn.Parameter(start.bias.detach().repeat(k, 1))

    def weights(self) -> Tensor:
        """Return the matrix of each member, shape (k, n_out, n_in)."""
        return (1 + self.s).unsqueeze(2) * self.weight * (1 + self.r).unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:  # x shape: (k, n_samples, n_in)
        """Return the outputs of all members, shape (k, n_samples, n_out)."""
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weights().transpose(1, 2))


class _MembersDropout(nn.Module):
    """Dropout with another mask for each member of a row, and for each row of a member.

    Of masks that are drawn for n + k - 1 rows member j uses those from the j-th on: a small share of the draws, which
    cost as much as the layer.
    """

    sample_axis = 1  # for ensembles of sub-networks, which draw a mask that all rows share

    def __init__(self, p: float, k: int):
        super().__init__()
        self.p, self.k = p, k

    def forward(self, x: Tensor) -> Tensor:  # x shape: (k, n_samples, n_units)
        """Return the units, of which some are zero and the others scaled up in training."""
        if not self.training or not self.p:
            return x
        n, m = x.shape[1:]
        masks = F.dropout(x.new_ones(n + self.k - 1, m), self.p)
        return x * masks.unfold(0, n, 1).transpose(1, 2)


class _Heads(nn.Module):
    """The last layers of k members, which share nothing."""

    def __init__(self, n_in: int, n_out: int, k: int):
        super().__init__()
        bound = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(k, n_out, n_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(k, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:  # x shape: (k, n_samples, n_in)
        """Return the outputs of all members, shape (k, n_samples, n_out)."""
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))


class TabM(TableInputs):
    r"""An ensemble of k :class:`TabularMLP` in one network: the members share the matrices, and differ by scales.

    With the matrix W of a hidden layer, member k computes

    .. math:: y_k = s_k \odot W (r_k \odot x_k) + b_k.

    The scales start at 1 and the biases as one, but for the scales of the columns of the table, which are 1 or -1 by
    chance: they make members differ. The last layers share nothing. Members are trained on the mean of their losses,
    and their probabilities are averaged, or their values in regression. Numbers and categories enter as in
    :class:`TabularMLP`.

    Parameters
    ----------
    n_in : int
        Columns.
    n_out : int
        Outputs: classes, labels or targets.
    table : TableStatistics
        Of the training rows; an estimator of this library fills it in.
    categorical : sequence of int, default=()
        Columns with codes of categories: 0, 1, ...; what was not in the training rows, such as -1, is a category of
        its own.
    k : int, default=32
        Members. More predict a little better at a proportional cost.
    hidden : sequence of int, default=(128, 128)
        Units of each hidden layer, at least one layer.
    dropout : float, default=0.1
        Probability of zeroing a hidden unit in training, drawn for each member.
    d_embedding : int, default=8
        Numbers that a category becomes.
    likelihood : {"categorical", "bernoulli", "gaussian"}, default="categorical"
        What the outputs are: logits of classes, logits of labels, or values.

    Notes
    -----
    The first layer costs little more than that of one :class:`TabularMLP`, the others k times as much. The average of
    two such networks is no network of average members: signs that differ cancel.

    References
    ----------
    Gorishniy, Kotelnikov and Babenko, "TabM: advancing tabular deep learning with parameter-efficient ensembling", ICLR
    2025, arXiv:2410.24210. Wen, Tran and Ba, "BatchEnsemble: an alternative approach to efficient ensemble and lifelong
    learning", ICLR 2020, arXiv:2002.06715.
    """

    signs: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        table: TableStatistics,
        categorical: Sequence[int] = (),
        k: int = 32,
        hidden: Sequence[int] = (128, 128),
        dropout: float = 0.1,
        d_embedding: int = 8,
        likelihood: Literal["categorical", "bernoulli", "gaussian"] = "categorical",
    ):
        super().__init__(n_in, n_out, table, categorical, d_embedding)
        _check(k, hidden, likelihood)
        self.k, self.likelihood = k, likelihood
        n_columns, width = len(self.numbers) + len(self.categories), hidden[0]
        start = nn.Linear(self.n_inputs, width)
        self.lines = nn.Linear(self.n_inputs, width, bias=False)
        self.lines.weight = start.weight
        self.curves = nn.Linear(table.edges.size, width, bias=False) if self.numbers else None
        if self.curves is not None:
            nn.init.zeros_(self.curves.weight)
        self.register_buffer("signs", torch.randint(2, (k, n_columns)) * 2.0 - 1)
        self.r, self.s = nn.Parameter(torch.zeros(k, n_columns)), nn.Parameter(torch.zeros(k, width))
        self.bias = nn.Parameter(start.bias.detach().repeat(k, 1))
        layers: list[nn.Module] = [nn.ReLU(), _MembersDropout(dropout, k)]
        for n, m in pairwise(hidden):
            layers += [_SharedLinear(n, m, k), nn.ReLU(), _MembersDropout(dropout, k)]
        self.layers = nn.Sequential(*layers, _Heads(hidden[-1], n_out, k))

    def forward(self, X: Tensor) -> Tensor:  # X shape: (n_samples, ...)
        """Return logits or values: those of each member in training mode, and those of their mean in evaluation mode.

        The softmax, or the sigmoid, of the latter is the mean of the members' probabilities.

        Parameters
        ----------
        X : Tensor of shape (n_samples, ...)
            Inputs.

        Returns
        -------
        Tensor of shape (n_samples, k, n_out) or (n_samples, n_out)
            Logits, or values in the units of the targets.
        """
        out = self.layers(self._first(*self._prepared(X))) * self.y_std + self.y_mean
        if self.training:
            return out.transpose(0, 1)
        if self.likelihood == "gaussian":
            return out.mean(0)
        if self.likelihood == "categorical":
            return out.log_softmax(2).logsumexp(0) - math.log(self.k)
        return F.logsigmoid(out).logsumexp(0) - F.logsigmoid(-out).logsumexp(0)

    def _first(self, z: Tensor, embedded: Tensor | None) -> Tensor:
        """Return what enters the first hidden units of all members, shape (k, n_samples, n_units)."""
        first: Any = 0.0
        r = self.signs + self.r
        for start, x, weight in self._columns(z, embedded):
            of_columns = torch.bmm(x, weight)  # shape: (n_columns, n_samples, n_units)
            scales = r[:, start : start + x.shape[0]]
            first = first + (scales @ of_columns.flatten(1)).unflatten(1, of_columns.shape[1:])
        return torch.addcmul(self.bias.unsqueeze(1), first, (1 + self.s).unsqueeze(1))

    def _columns(self, z: Tensor, embedded: Tensor | None) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Iterate over some columns at a time: where they start, what encodes them, and the weights of these numbers.

        The shapes are (n_columns, n_samples, n_numbers of a column) and (n_columns, n_numbers of a column, n_units).
        """
        lines, n_numbers = self.lines.weight, len(self.numbers)
        if self.curves is not None:
            curves = self.curves.weight.unflatten(1, self.edges.shape)
            for start in range(0, n_numbers, _COLUMNS_AT_A_TIME):
                some = slice(start, min(start + _COLUMNS_AT_A_TIME, n_numbers))
                x = torch.cat([z[:, some].unsqueeze(2), self._shares(z, some)], dim=2)
                weight = torch.cat([lines[:, some].unsqueeze(2), curves[:, some]], dim=2)
                yield start, x.transpose(0, 1), weight.permute(1, 2, 0)
        if embedded is not None:
            weight = lines[:, n_numbers:].unflatten(1, embedded.shape[1:])
            yield n_numbers, embedded.transpose(0, 1), weight.permute(1, 2, 0)


def _check(k: int, hidden: Sequence[int], likelihood: str) -> None:
    if not (isinstance(k, Integral) and k >= 1):
        raise ValueError(f"k is the number of members, a whole number of at least 1; got {k!r}.")
    if not len(hidden):
        raise ValueError("hidden is empty, and the members of a TabM share hidden layers: give it one at least.")
    if likelihood not in ("categorical", "bernoulli", "gaussian"):
        raise ValueError(f"likelihood must be 'categorical', 'bernoulli' or 'gaussian'; got {likelihood!r}.")
