"""What a model knows of inputs before its last layer: features for other tasks, and for scores of transferability."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion._rows import Inputs
from skfusion.nets import Runner
from skfusion.state import State


def network_features(runner: Runner, state: State, X: Inputs) -> np.ndarray:
    """Return the input of the last layer that runs and has weights, flattened, shape (n_samples, n_features)."""
    parts = []
    for chunk in runner.chunks(X):
        last: dict[str, Tensor] = {}

        def keep(_module: nn.Module, args: tuple[Any, ...], last: dict[str, Tensor] = last) -> None:
            if args and isinstance(args[0], Tensor):
                last["input"] = args[0]

        layers = [m for m in runner.module.modules() if next(m.parameters(recurse=False), None) is not None]
        handles = [layer.register_forward_pre_hook(keep) for layer in layers]
        try:
            runner.outputs([runner.on_device(state)], [chunk])
        finally:
            for handle in handles:
                handle.remove()
        if not last:
            raise ValueError(f"{type(runner.module).__name__} has no layer with weights, and so no features before it.")
        features = last["input"]
        parts.append(features.reshape(len(features), -1).to(torch.float64).cpu().numpy())
    return np.concatenate(parts)


def estimator_features(estimator: Any, X: Any) -> np.ndarray:
    """Return decision scores, probabilities or values, whichever there is first, shape (n_samples, n_features)."""
    for method in ("decision_function", "predict_proba", "predict"):
        if hasattr(estimator, method):
            out = np.asarray(getattr(estimator, method)(X), np.float64)
            return out.reshape(len(out), -1)
    raise TypeError(
        f"A {type(estimator).__name__} predicts nothing: it has none of decision_function, predict_proba and predict."
    )
