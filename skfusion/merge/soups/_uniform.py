"""Uniform and weighted soup (Utans, 1996; McMahan et al., 2017; Wortsman et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from skfusion.merge._base import LinearMerger, shares
from skfusion.objective import Objective
from skfusion.state import State


class Uniform(LinearMerger):
    r"""Average the members' weights.

    .. math:: \theta = \sum_k \lambda_k \theta_k, \qquad \sum_k \lambda_k = 1

    Parameters
    ----------
    weights : sequence of float, optional
        Non-negative importance of each member, shape (K,); divided by their sum. A larger value pulls the soup
        towards that member. Equal when omitted.

    Notes
    -----
    Costs O(K d) for d parameters and memory for one extra state. Members must share a basin of the loss: one
    initialisation, one trajectory, or an alignment before. The mean of independently initialised networks is
    usually no better than chance.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022, arXiv:2203.05482.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import Uniform
    >>> states = [{"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([4.0, 2.0])}]
    >>> Uniform()(states)["w"].tolist()
    [2.0, 2.0]
    >>> Uniform(weights=[1, 3])(states)["w"].tolist()
    [3.0, 2.0]
    """

    def __init__(self, weights: Sequence[float] | None = None):
        self.weights = weights

    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return the normalised weights; see :meth:`LinearMerger.coefficients`."""
        return shares("Uniform", self.weights, len(states))
