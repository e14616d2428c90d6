r"""How alike two representations are: centred kernel alignment.

With the Gram matrices :math:`K = X X^T` and :math:`L = Y Y^T` of the same n rows,

.. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}}

where the estimator of HSIC leaves the diagonals out, so that it has no bias: without this, wide layers look alike on
few rows whatever they compute.

References
----------
Kornblith et al., "Similarity of neural network representations revisited", ICML 2019, arXiv:1905.00414. Nguyen, Raghu
and Kornblith, "Do wide and deep networks learn the same things?", ICLR 2021, arXiv:2010.15327 (the estimator).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._pytree import tree_leaves

from skfusion.estimators._on_data import OnData
from skfusion.state import State
from skfusion.tangent import Linearised

MAX_ROWS = 1000
LEAST_ROWS = 4
"""The estimator divides by n - 3."""
_NUMBERS = 2**24
"""Numbers that are held at once: activations of a network, and Gram matrices."""


def cka(A: Any, B: Any) -> float:
    """Return how alike two representations of the same rows are, by linear centred kernel alignment.

    It does not see rotations, permutations of units, offsets, or one common scale.

    Parameters
    ----------
    A, B : array-like of shape (n_rows, ...)
        What two networks compute for the same rows, at least 4. Further axes are flattened.

    Returns
    -------
    float
        1 for representations that are equal up to what it does not see, about 0 for unrelated ones, at least -1. NaN
        where one of them does not vary.

    References
    ----------
    Kornblith et al., "Similarity of neural network representations revisited", ICML 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.diagnose import cka
    >>> A = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(cka(A, 2 * A[:, ::-1] + 1), 6)
    1.0
    """
    a, b = (torch.as_tensor(np.asarray(x, np.float64)) for x in (A, B))
    if len(a) != len(b) or len(a) < LEAST_ROWS:
        raise ValueError(
            f"Give two representations of the same rows, at least {LEAST_ROWS}; got {len(a)} and {len(b)}."
        )
    return float(_aligned([gram(a), gram(b)])[0, 1])


def gram(x: Tensor) -> Tensor:  # x shape: (n_rows, ...)
    """Return the Gram matrix, centred so that inner products of such matrices are the unbiased HSIC times n (n - 3)."""
    rows = x.reshape(len(x), -1).double()
    rows = rows - rows.mean(0)  # changes nothing but the rounding
    n, k = len(rows), rows @ rows.T
    k.fill_diagonal_(0)
    sums = k.sum(0)
    k = k - (sums[:, None] + sums) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return k.fill_diagonal_(0)


def _aligned(grams: list[Tensor]) -> np.ndarray:
    """Return the cosines of centred Gram matrices, shape (n_members, n_members)."""
    flat = torch.stack([g.flatten() for g in grams])
    norms = flat.norm(dim=1, keepdim=True)
    flat = torch.where(norms > 0, flat / norms, torch.nan)
    return (flat @ flat.T).clamp(-1, 1).numpy()


def similarity(data: OnData, random_state: int) -> tuple[dict[str, np.ndarray], int]:
    """Return how alike the members' representations are, by layer.

    Parameters
    ----------
    data : OnData
        Members of one architecture on rows.
    random_state : int
        Seed of the choice of rows, where there are more than are looked at.

    Returns
    -------
    layers : dict of ndarray of shape (n_members, n_members)
        CKA by the name of each layer with weights, in the order in which they run. Layers that give something else
        than a tensor with an axis of rows are left out.
    n_rows : int
        Rows that were looked at.
    """
    layers = dict(_with_weights(data.runner.module))
    first = data.states[0]
    dry = _outputs(data, first, layers, np.arange(min(3, len(data.rows))))
    widths = {name: out[0].numel() for name, out in dry.items()}
    n = min(len(data.rows), MAX_ROWS, max(64, _NUMBERS // max([*widths.values(), 1])))
    index = np.sort(np.random.default_rng(random_state).permutation(len(data.rows))[:n])
    found: dict[str, np.ndarray] = {}
    for names in _groups(widths, n, len(data.states)):
        grams: dict[str, list[Tensor]] = {name: [] for name in names}
        for state in data.states:
            for name, out in _outputs(data, state, {name: layers[name] for name in names}, index).items():
                grams[name].append(gram(out).cpu())
        found |= {name: _aligned(g) for name, g in grams.items() if len(g) == len(data.states)}
    return found, n


def _with_weights(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    tangent = [name for name, part in module.named_modules() if isinstance(part, Linearised)]
    for name, part in module.named_modules():
        if name in tangent:
            yield name, part  # what is inside runs at the start, and its derivative
        if any(name.startswith(f"{outer}." if outer else "") for outer in tangent):
            continue
        own = [p for p in part._parameters.values() if p is not None and p.dim() > 1]
        if (own or hasattr(part, "parametrizations")) and not isinstance(part, ParametrizationList):
            yield name, part


def _groups(widths: dict[str, int], n: int, n_members: int) -> Iterator[list[str]]:
    """Cut the layers into runs of which the activations, and Gram matrices of all members, can be held at once."""
    some: list[str] = []
    for name in widths:
        wanted = [*some, name]
        if some and max(sum(widths[w] for w in wanted) * n, len(wanted) * n_members * n * n) > _NUMBERS:
            yield some
            wanted = [name]
        some = wanted
    if some:
        yield some


def _outputs(data: OnData, state: State, layers: dict[str, nn.Module], index: np.ndarray) -> dict[str, Tensor]:
    """Return what layers give for some rows when they first run, in the order in which they do."""
    parts: dict[str, list[Tensor]] = {}
    seen: set[str] = set()

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            given = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
            if name not in seen and given and given[0].dim():
                parts.setdefault(name, []).append(given[0].detach().clone())
            seen.add(name)

        return hook

    chunks = list(data.runner.chunks(data.rows.take(index).X))
    data.runner.outputs([state], chunks[:1])  # it may look at the module first
    hooks = [part.register_forward_hook(keep(name)) for name, part in layers.items()]
    try:
        for x in chunks:
            seen.clear()
            data.runner.outputs([state], [x])
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: torch.cat([p.flatten(1) if p.dim() > 1 else p[:, None] for p in some])
        for name, some in parts.items()
        if sum(map(len, some)) == len(index)
    }
