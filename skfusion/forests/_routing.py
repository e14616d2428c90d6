"""Trees of soft decisions: where a sample goes, what leaves say, and how wrong it is. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

TINY = 1e-30
"""A class that a leaf has never seen has this probability in logarithms, which keeps gradients finite."""


def log_reach(f: Tensor) -> Tensor:  # f shape: (..., n_nodes)
    """Return the logarithm of the probability that a sample ends in each leaf.

    Parameters
    ----------
    f : Tensor of shape (..., n_nodes)
        One number a node, ``2 ** depth - 1`` of them, level by level from the root; a sample goes left with probability
        ``sigmoid(f)``.

    Returns
    -------
    Tensor of shape (..., n_nodes + 1)
        Of the leaves from left to right; the exponentials sum to 1.
    """
    found = f.new_zeros(*f.shape[:-1], 1)
    done = 0
    while found.shape[-1] <= f.shape[-1]:
        here = f[..., done : done + found.shape[-1]]
        done += found.shape[-1]
        sides = torch.stack([logsigmoid(here), logsigmoid(-here)], dim=-1)
        found = (found.unsqueeze(-1) + sides).flatten(-2)
    return found


def updated_leaves(leaves: Tensor, reach: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return leaves after one step of the fixed point, which never lowers the likelihood of the labels.

    .. math:: \pi_{\ell c} \leftarrow \frac{1}{Z_\ell} \sum_{i:\, y_i = c} w_i
        \frac{\pi_{\ell c}\, \mu_\ell(x_i)}{\sum_{m} \pi_{m c}\, \mu_m(x_i)}

    Parameters
    ----------
    leaves : Tensor of shape (n_leaves, n_classes)
        Class distributions.
    reach : Tensor of shape (n_samples, n_leaves)
        Probabilities of ending in each leaf.
    y : Tensor of int64, shape (n_samples,)
        Class codes.
    weight : Tensor of shape (n_samples,), optional
        Of the rows.

    Returns
    -------
    Tensor of shape (n_leaves, n_classes)
        Distributions; a leaf that nothing reaches keeps its own.
    """
    share = leaves.T.contiguous()[y] * reach
    share = share / share.sum(dim=1, keepdim=True).clamp_min(TINY)
    if weight is not None:
        share = share * weight[:, None]
    counts = torch.zeros_like(leaves.T).index_add_(0, y, share).T  # shape: (n_leaves, n_classes)
    total = counts.sum(dim=1, keepdim=True)
    return torch.where(total > TINY, counts / total.clamp_min(TINY), leaves)


def fitted_leaves(reach: Tensor, y: Tensor, n_classes: int, n_updates: int, weight: Tensor | None = None) -> Tensor:
    """Return the leaves of a tree after some updates, which begin with uniform distributions.

    Parameters
    ----------
    reach : Tensor of shape (n_samples, n_leaves)
        Probabilities of ending in each leaf.
    y : Tensor of int64, shape (n_samples,)
        Class codes.
    n_classes : int
        Classes.
    n_updates : int
        Steps of the fixed point.
    weight : Tensor of shape (n_samples,), optional
        Of the rows.

    Returns
    -------
    Tensor of shape (n_leaves, n_classes)
        Distributions.
    """
    leaves = reach.new_full((reach.shape[1], n_classes), 1 / n_classes)
    for _ in range(n_updates):
        leaves = updated_leaves(leaves, reach, y, weight)
    return leaves


def mean_of_trees(out: Tensor, units: Tensor, leaves: Tensor) -> Tensor:
    """Return the class probabilities that trees give on average.

    Parameters
    ----------
    out : Tensor of shape (n_rows, n_units)
        Of the network.
    units : Tensor of int64, shape (n_trees, n_nodes)
        Which output decides at each node.
    leaves : Tensor of shape (n_trees, n_leaves, n_classes)
        Class distributions, float64.

    Returns
    -------
    Tensor of shape (n_rows, n_classes)
        Probabilities, in the dtype of the network, which has no more digits.
    """
    found = leaves.new_zeros(len(out), leaves.shape[2])
    for own, says in zip(units, leaves, strict=True):
        found += log_reach(out[:, own].to(leaves.dtype)).exp() @ says / len(units)
    return found.to(out.dtype)


class ForestLoss(nn.Module):
    """The negative log-likelihood of labels under trees that are routed by a network's outputs.

    In training each batch is judged by one tree, drawn at random; else by the mean of all trees. Copies of a net share
    their forest: a change of the leaves is seen by all that the net does with it.

    Parameters
    ----------
    units : Tensor of int64, shape (n_trees, n_nodes)
        Which output of the network decides at each node.
    leaves : Tensor of shape (n_trees, n_leaves, n_classes)
        Class distributions, which are not trained by gradients.
    reduction : {"mean", "none"}, default="mean"
        Whether to return one number or one a row.
    """

    def __init__(self, units: Tensor, leaves: Tensor, reduction: str = "mean"):
        super().__init__()
        self.units: Tensor
        self.leaves: Tensor
        self.register_buffer("units", units)
        self.register_buffer("leaves", leaves)
        self.reduction = reduction

    def forward(self, out: Tensor, y: Tensor) -> Tensor:  # out shape: (n_rows, n_units)
        """Return the mean loss of a batch, or the loss of each row."""
        n_trees = len(self.units)
        trees = [int(torch.randint(n_trees, ()))] if self.training else range(n_trees)
        each = torch.stack([self._log_likelihood(out, y, tree) for tree in trees])
        loss = -(torch.logsumexp(each, dim=0) - torch.log(torch.tensor(float(len(each)))))
        return loss.mean() if self.reduction == "mean" else loss

    def probabilities(self, out: Tensor) -> Tensor:
        """Return what all trees say of a network's outputs, shape (n_rows, n_classes), as skorch asks of a net."""
        return mean_of_trees(out, self.units, self.leaves)

    def __deepcopy__(self, memo: dict[int, object]) -> ForestLoss:
        return self

    def _log_likelihood(self, out: Tensor, y: Tensor, tree: int) -> Tensor:
        says = self.leaves[tree].clamp_min(TINY).log().to(out.dtype)
        return torch.logsumexp(log_reach(out[:, self.units[tree]]) + says.T[y], dim=1)
