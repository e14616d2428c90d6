"""What a model knows of inputs before its last layer: features for other tasks, and for scores of transferability."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._rows import Inputs, rows_at
from skfusion.nets import Runner
from skfusion.state import State


def network_features(runner: Runner, state: State, X: Inputs) -> np.ndarray:
    """Return the input of the last layer that runs and has weights, flattened, shape (n_samples, n_features)."""
    parts = [_last(runner, state, chunk)[1] for chunk in runner.chunks(X)]
    return np.concatenate([part.reshape(len(part), -1).to(torch.float64).cpu().numpy() for part in parts])


def head_of(runner: Runner, state: State, X: Inputs) -> str:
    """Return the name of the last layer that runs and has weights."""
    return _last(runner, state, next(runner.chunks(rows_at(X, np.arange(1)))))[0]


def _last(runner: Runner, state: State, chunk: Any) -> tuple[str, Tensor]:
    """Return the name of the last layer that has weights, and its input."""
    last: list[Any] = []

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor):
                last[:] = name, args[0]

        return hook

    layers = [(n, m) for n, m in runner.module.named_modules() if next(m.parameters(recurse=False), None) is not None]
    handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers]
    try:
        runner.outputs([runner.on_device(state)], [chunk])
    finally:
        for handle in handles:
            handle.remove()
    if not last:
        raise ValueError(f"{type(runner.module).__name__} has no layer with weights, and so no features before it.")
    return last[0], last[1]


def estimator_features(estimator: Any, X: Any) -> np.ndarray:
    """Return decision scores, probabilities or values, whichever there is first, shape (n_samples, n_features)."""
    for method in ("decision_function", "predict_proba", "predict"):
        if hasattr(estimator, method):
            out = np.asarray(getattr(estimator, method)(X), np.float64)
            return out.reshape(len(out), -1)
    raise TypeError(
        f"A {type(estimator).__name__} predicts nothing: it has none of decision_function, predict_proba and predict."
    )
