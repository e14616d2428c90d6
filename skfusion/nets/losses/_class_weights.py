"""Weights of classes in a criterion."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from skfusion._rows import Task

_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)


def check_class_weights(net: Any, task: Task, n_outputs: int) -> None:
    """Raise where weights of classes are no tensor, or not as many as there are classes or labels."""
    made = isinstance(net.criterion, nn.Module)
    kind = type(net.criterion) if made else net.criterion
    if kind not in (*_CLASSES, nn.BCEWithLogitsLoss):  # other criteria may define their weights differently
        return
    params = vars(net.criterion)["_buffers"] if made else net.get_params_for("criterion")
    name = "weight" if kind in _CLASSES else "pos_weight"
    given = params.get(name)
    if given is None:
        return
    shown = f"criterion__{name}"
    if not isinstance(given, Tensor):
        raise TypeError(f"{shown} must be a tensor, torch.tensor({np.asarray(given).tolist()}); got {given!r}.")
    if name == "pos_weight" and given.numel() == 1:
        return
    if name == "pos_weight" and task == "classification":
        raise ValueError(f"{shown} has the shape {tuple(given.shape)}: for two classes it is one number, shape (1,).")
    if tuple(given.shape) != (n_outputs,):
        noun = "classes" if task == "classification" else "labels"
        raise ValueError(
            f"{shown} has the shape {tuple(given.shape)}, and y has {n_outputs} {noun}: give a tensor of {n_outputs} "
            "numbers, in the order of the classes."
        )
