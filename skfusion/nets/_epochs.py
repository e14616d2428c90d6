"""Mini-batches as a net would be trained on them, for methods that train something other than its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from skorch.dataset import unpack_data
from skorch.utils import to_device, to_tensor

from skfusion._random import seed_scope
from skfusion._rows import Rows, Task
from skfusion.nets._loader import TensorLoader
from skfusion.nets._train import prepared
from skfusion.objective import Batch


class Epochs:
    """Epochs of a sized net's training data, by its dataset, split, loader and batch size. The net is not changed."""

    def __init__(self, net: Any, rows: Rows, task: Task):
        self._net, self._rows = net, rows if rows.task == task else replace(rows, task=task)
        self._loader: Any = None

    def __call__(self) -> Iterator[Batch]:
        """Iterate over an epoch of mini-batches; their order is drawn from torch's global generator."""
        device = self._net.device
        if self._loader is None:
            with seed_scope(0, device):
                ready = prepared(self._net, self._rows)
                train, _ = ready.net.get_split_datasets(ready.X, ready.y)
            self._loader = ready.net.get_iterator(train, training=True)
        loader = self._loader
        generator = getattr(loader, "generator", None)
        if generator is not None:  # the net's own generator would go on from call to call
            generator.manual_seed(int(torch.randint(2**62, ())))
        weighted = isinstance(loader, TensorLoader) and loader.weight is not None
        for data in loader:
            x, y = (to_device(to_tensor(part, device or "cpu"), device or "cpu") for part in unpack_data(data))
            weight = loader.current_weight[0] if weighted else None
            if weight is not None and weight.ndim > 1:  # the further columns hold the weights of rows by their classes
                weight = weight[:, 0]
            yield Batch(x, y, weight)
