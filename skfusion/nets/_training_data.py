"""The rows that a net is being trained on, as data to estimate BatchNorm statistics on between epochs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from skorch.dataset import unpack_data
from skorch.utils import to_device, to_tensor
from torch import Tensor, nn
from torch.utils.data import IterableDataset, Subset

from skfusion._random import seed_scope
from skfusion.objective import Batch, Objective
from skfusion.repair import Recalibrate, batch_norms
from skfusion.state import State


class TrainingData(Objective):
    """All rows of the dataset of a net's training, in the batches of its validation, with their weights if any.

    Random augmentations of the dataset are drawn by a fixed seed, and the global generators are left as they were.
    """

    def __init__(self, net: Any, dataset: Any):
        self.module = module_of(net)
        self._net, self._dataset = net, dataset

    def batches(self) -> Iterator[Batch]:
        """Iterate over the rows; see :meth:`Objective.batches`."""
        device = self._net.device or "cpu"
        loader, weight = self._loader()
        for data in loader:
            x, y = (part if part is None else to_device(to_tensor(part, device), device) for part in unpack_data(data))
            yield Batch(x, y, weight[0])

    def _loader(self) -> tuple[Any, list[Tensor | None]]:
        """Return a loader of the rows in their order, and a box for the weights of its batches."""
        box: list[Tensor | None] = [None]
        training = self._net.get_iterator(self._dataset, training=True)
        weight = getattr(training, "row_weight", None)
        if weight is None:
            return self._net.get_iterator(self._dataset, training=False), box
        weight = torch.as_tensor(weight)
        return type(training)(self._dataset, training.batch_size, weight=weight, current_weight=box), box


def with_own_statistics(
    net: Any, dataset: Any, state: State, visited: State | None = None, *, n_passes: int | None = None
) -> State:
    """Return a state with BatchNorm statistics that are estimated for it on the dataset of the training.

    It is returned as it is where the module has no BatchNorm, or where it is ``visited``, the state to which the
    training gave its statistics; and where the rows cannot be run a second time: then the statistics in it stay.
    """
    if dataset is None or not batch_norms(module_of(net)):
        return state
    if not _can_run_again(net, dataset):
        warnings.warn(
            "BatchNorm statistics are the average of those of the run, because the rows of the training cannot be run "
            "again: the dataset is a stream, or its inputs are neither a tensor nor tensors by name. Where that is "
            "not good enough, estimate them by skfusion.repair.Recalibrate on rows of your own.",
            stacklevel=2,
        )
        return state
    with seed_scope(0, net.device):
        return Recalibrate(n_passes)(state, [] if visited is None else [visited], TrainingData(net, dataset))


def _can_run_again(net: Any, dataset: Any) -> bool:
    """Return whether the rows come again when they are asked for again, as a tensor or tensors by name."""
    inner = dataset
    while isinstance(inner, Subset):
        inner = inner.dataset
    if isinstance(inner, IterableDataset):
        return False
    with seed_scope(0, net.device):
        x, _ = unpack_data(dataset[0])
    return not isinstance(x, (tuple, list))


def module_of(net: Any) -> nn.Module:
    """Return the module of a net, without the wrapper of ``torch.compile``, whose names have another prefix."""
    module: nn.Module = getattr(net.module_, "_orig_mod", net.module_)
    return module


def tensors_of(module: nn.Module) -> State:
    """Return the tensors of a module by name, as they are: who writes to them changes the module."""
    return {k: v for k, v in module.state_dict().items() if isinstance(v, Tensor)}
