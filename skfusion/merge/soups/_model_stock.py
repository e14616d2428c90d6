"""Model stock (Jang et al., 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from skfusion.merge._tensorwise import Entry, TensorMerger, base_of, task_vectors


class ModelStock(TensorMerger):
    r"""Draw the mean of the members towards the base, the more the less they agree.

    In each tensor, with c the mean cosine of the changes :math:`\theta_k - \theta_0` of two members:

    .. math:: \theta = t\, \tfrac{1}{K} \sum_k \theta_k + (1 - t)\, \theta_0, \qquad
        t = \frac{K c}{1 + (K - 1) c}

    It is the point next to the centre of the fine-tunes on the plane through them and the base, where fine-tunes
    differ from their centre in random directions and by like amounts.

    Notes
    -----
    Costs O(K d) for d parameters. A single member is the result itself. Where c is negative the base is the result, as
    where c is 0. A tensor that a member has not changed has cosine 0 with all others. Tensors of one number have
    cosines of 1 and -1.

    References
    ----------
    Jang et al., "Model stock: all we need is just a few fine-tuned models", ECCV 2024, arXiv:2403.19522.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import ModelStock
    >>> base = {"w": torch.zeros(2)}
    >>> states = [{"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([3.0, 3.0])}]
    >>> [round(v, 4) for v in ModelStock()(states, base)["w"].tolist()]
    [2.4853, 1.2426]
    """

    needs_base: ClassVar[bool] = True

    def tensor(self, entry: Entry, known: Any) -> Tensor:
        """Return the point between the base and the mean; see :meth:`TensorMerger.tensor`."""
        t = ratio(task_vectors(entry))
        mean = torch.zeros_like(base_of(entry))
        for tensor in entry.tensors:
            mean += tensor / len(entry.tensors)
        return t * mean + (1 - t) * base_of(entry)


def ratio(vectors: Sequence[Tensor]) -> float:
    """Return the share t of the mean, from 0 to 1."""
    n = len(vectors)
    if n == 1:
        return 1.0
    total, some = torch.zeros_like(vectors[0]), 0
    for tau in vectors:
        norm = float(torch.linalg.vector_norm(tau))
        if norm:
            total += tau / norm
            some += 1
    cosine = (float(total.square().sum()) - some) / (n * (n - 1))  # the squared sum holds each pair twice
    cosine = max(cosine, 0.0)
    return n * cosine / (1 + (n - 1) * cosine)
