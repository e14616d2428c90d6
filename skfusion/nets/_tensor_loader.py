"""The loader that cuts data that is tensors into batches, and hands out the weights of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import torch
from skorch.dataset import Dataset as SkorchDataset
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from skfusion._batches import rows_at


class TensorLoader:
    """Iterate over a dataset that holds tensors; draws from the random stream exactly as ``DataLoader`` does.

    The dataset has tensors (or dicts of tensors) as ``X`` and ``y``, or is a ``Subset`` of such a one. The row weights
    of the present batch stand in ``current_weight[0]``; ``row_weight`` are those without the loss's own. With
    ``join_single`` a last batch of one row joins its neighbour, as BatchNorm cannot train on one row. The other
    parameters are those of ``DataLoader``; ``num_workers`` and ``pin_memory`` have nothing to do here.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        weight: Tensor | None = None,
        current_weight: list[Tensor | None] | None = None,
        join_single: bool = False,
        row_weight: np.ndarray | None = None,
    ):
        index: Tensor | None = None
        while isinstance(dataset, Subset):
            outer = torch.as_tensor(dataset.indices)
            index = outer if index is None else outer[index]
            dataset = dataset.dataset
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1; got {batch_size!r}.")
        self.dataset, self.index, self.generator = dataset, index, generator
        self.n = len(dataset) if index is None else len(index)  # type: ignore[arg-type]
        self.batch_size, self.shuffle = batch_size, shuffle
        self.weight, self.current_weight, self.row_weight = weight, current_weight, row_weight
        left = self.n % batch_size
        join_single = join_single and not drop_last and self.n > batch_size and left == 1
        n_batches = self.n // batch_size + (left > 0 and not drop_last) - join_single
        ends = [min((i + 1) * batch_size, self.n) for i in range(n_batches)]
        if join_single:
            ends[-1] = self.n
        self.cuts = list(zip([0, *ends], ends, strict=False))  # of the order, batch by batch

    def __len__(self) -> int:
        return len(self.cuts)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order = self.draw()
        try:
            for start, stop in self.cuts:
                rows = order[start:stop]
                if self.weight is not None and self.current_weight is not None:
                    self.current_weight[0] = self.weight[rows.to(self.weight.device)]
                yield rows_at(self.dataset.X, rows), rows_at(self.dataset.y, rows)  # type: ignore[attr-defined]
        finally:
            if self.current_weight is not None:
                self.current_weight[0] = None  # other rows, of another loader, have no weights

    def draw(self) -> Tensor:
        """Return the rows of the dataset in the order of an epoch, shape (n_samples,)."""
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)  # DataLoader draws its base seed here
        order = self._order()
        return order if self.index is None else self.index[order]

    def _order(self) -> Tensor:
        """Return all positions in the order in which RandomSampler or SequentialSampler gives them."""
        if not self.shuffle:
            return torch.arange(self.n)
        if self.generator is None:
            seed = int(torch.empty((), dtype=torch.int64).random_())
            return torch.randperm(self.n, generator=torch.Generator().manual_seed(seed))
        order = torch.randperm(self.n, generator=self.generator)
        torch.randperm(self.n, generator=self.generator)  # RandomSampler draws another one and does not use it
        return order


def predict_loader(
    dataset: Any, weights_of: Any = None, weight: Tensor | None = None, current_weight: Any = None, **params: Any
) -> Any:
    """Return a :class:`TensorLoader` for a dataset of tensors, and a ``DataLoader`` for any other dataset.

    Rows of the inputs ``weights_of`` have the weights that stand in ``weight``; others have none.
    """
    inner = dataset
    while isinstance(inner, Subset):
        inner = inner.dataset
    X, y = getattr(inner, "X", None), getattr(inner, "y", None)
    parts = [*X.values(), y] if isinstance(X, dict) else [X, y]
    plain = type(inner) is SkorchDataset and all(isinstance(t, Tensor) for t in parts)
    if plain and weight is not None and X is weights_of:
        params |= {"weight": weight, "current_weight": current_weight}
    return (TensorLoader if plain else DataLoader)(dataset, **params)
