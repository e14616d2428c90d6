"""Trees of soft decisions: the routing of samples, the distributions of leaves, and the loss. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

TINY = 1e-30
"""A class that a leaf has never seen has this probability in logarithms, which keeps gradients finite."""


def log_reach(f: Tensor) -> Tensor:  # f shape: (..., n_nodes)
    """Return the logarithm of the probability that a sample ends in each leaf, shape (..., n_nodes + 1).

    The nodes of ``f`` stand level by level from the root; a sample goes left with probability ``sigmoid(f)``. Leaves
    stand from left to right.
    """
    logs, done = f.new_zeros(*f.shape[:-1], 1), 0
    while logs.shape[-1] <= f.shape[-1]:
        level = f[..., done : done + logs.shape[-1]]
        done += logs.shape[-1]
        sides = torch.stack([logsigmoid(level), logsigmoid(-level)], dim=-1)
        logs = (logs.unsqueeze(-1) + sides).flatten(-2)
    return logs


def updated_leaves(leaves: Tensor, reach: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return leaves after one step of the fixed point, which never lowers the likelihood of the labels.

    .. math:: \pi_{\ell c} \leftarrow \frac{1}{Z_\ell} \sum_{i:\, y_i = c} w_i
        \frac{\pi_{\ell c}\, \mu_\ell(x_i)}{\sum_{m} \pi_{m c}\, \mu_m(x_i)}

    ``leaves`` have shape (n_leaves, n_classes), and ``reach`` has :math:`\mu`, shape (n_samples, n_leaves). A leaf that
    no sample reaches keeps its distribution.
    """
    share = leaves.T.contiguous()[y] * reach
    share = share / share.sum(dim=1, keepdim=True).clamp_min(TINY)
    if weight is not None:
        share = share * weight[:, None]
    counts = torch.zeros_like(leaves.T).index_add_(0, y, share).T  # shape: (n_leaves, n_classes)
    total = counts.sum(dim=1, keepdim=True)
    return torch.where(total > TINY, counts / total.clamp_min(TINY), leaves)


def fitted_leaves(reach: Tensor, y: Tensor, n_classes: int, n_updates: int, weight: Tensor | None = None) -> Tensor:
    """Return the leaves of a tree after some updates, which begin with uniform distributions."""
    leaves = reach.new_full((reach.shape[1], n_classes), 1 / n_classes)
    for _ in range(n_updates):
        leaves = updated_leaves(leaves, reach, y, weight)
    return leaves


def mean_of_trees(out: Tensor, units: Tensor, leaves: Tensor) -> Tensor:
    """Return the class probabilities that trees predict on average, shape (n_rows, n_classes).

    They are in the dtype of the outputs ``out`` of the network, of which ``units`` say which one decides at each node.
    """
    mean = leaves.new_zeros(len(out), leaves.shape[2])
    for units_of_tree, leaves_of_tree in zip(units, leaves, strict=True):
        mean += log_reach(out[:, units_of_tree].to(leaves.dtype)).exp() @ leaves_of_tree / len(units)
    return mean.to(out.dtype)


class ForestLoss(nn.Module):
    """The negative log-likelihood of labels under trees that are routed by a network's outputs.

    In training each batch is judged by one tree, drawn at random; else by the mean of all trees. Copies of a net share
    their forest: a change of the leaves is seen by all that the net does with it. ``units``, shape (n_trees, n_nodes),
    says which output decides at each node; ``leaves``, shape (n_trees, n_leaves, n_classes), has the class
    distributions, which are not trained by gradients.
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
        """Return the mean prediction of the trees, shape (n_rows, n_classes); a ``predict_nonlinearity`` of skorch."""
        return mean_of_trees(out, self.units, self.leaves)

    def __deepcopy__(self, memo: dict[int, object]) -> ForestLoss:
        return self

    def _log_likelihood(self, out: Tensor, y: Tensor, tree: int) -> Tensor:
        logs = self.leaves[tree].clamp_min(TINY).log().to(out.dtype)
        return torch.logsumexp(log_reach(out[:, self.units[tree]]) + logs.T[y], dim=1)
