"""Small plain networks: perceptrons, and the scaling of the data that they and extreme targets need."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import Tensor, nn

from skfusion._rows import Rows, Task


class MLP(nn.Module):
    """A perceptron that standardises its inputs, and its outputs where these are values.

    Parameters
    ----------
    n_in : int
        Numbers a sample; arrays of more axes are flattened.
    n_out : int
        Outputs: classes, labels or targets.
    hidden : sequence of int, default=(64, 64)
        Units of each hidden layer. More fit more and cost more.
    norm : {None, "batch", "layer"}, default=None
        Normalisation after each hidden linear layer, which has no bias ahead of BatchNorm, as that takes it away.
    dropout : float, default=0.0
        Probability of zeroing a hidden unit in training.
    scaling : dict of ndarray, optional
        ``x_mean``, ``x_std`` of shape (n_in,), and ``y_mean``, ``y_std`` of shape (n_out,) in regression. They are
        kept as buffers, the same for all members of a pool, so that members can be averaged.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        hidden: Sequence[int] = (64, 64),
        norm: str | None = None,
        dropout: float = 0.0,
        scaling: dict[str, np.ndarray] | None = None,
    ):
        super().__init__()
        if not isinstance(hidden, Iterable) or isinstance(hidden, str):
            raise TypeError(
                f"hidden is a sequence with the units of each layer, such as ({hidden!r},); got {hidden!r}."
            )
        scaling = scaling or {}
        for name, size, default in (("x_mean", n_in, 0), ("x_std", n_in, 1), ("y_mean", n_out, 0), ("y_std", n_out, 1)):
            value = scaling.get(name, np.full(size, default))
            if np.shape(value) != (size,):
                raise ValueError(
                    f"The data has {np.size(value)} numbers a sample in {name[0]}, but the net was given "
                    f"{'n_in' if name[0] == 'x' else 'n_out'}={size}; leave it out, and it is set to fit the data."
                )
            self.register_buffer(name, torch.as_tensor(np.asarray(value, np.float32)))
        norms = {None: None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        if norm not in norms:
            raise ValueError(f"norm must be one of {list(norms)}; got {norm!r}.")
        layers: list[nn.Module] = []
        sizes = [n_in, *hidden]
        for n, m in pairwise(sizes):
            layers.append(nn.Linear(n, m))
            if norm == "batch":  # which takes a bias away; it is drawn all the same, so that seeds keep their weights
                layers[-1].register_parameter("bias", None)
            if (kind := norms[norm]) is not None:
                layers.append(kind(m))
            # one module, so that the names of tensors are the same with and without dropout
            layers.append(nn.Sequential(nn.ReLU(), nn.Dropout(dropout)) if dropout else nn.ReLU())
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))

    def _mean_after(self, name: str) -> str | None:
        """Return the running mean that a bias, such as ``layers.0.bias``, would be subtracted from, if there is one."""
        *_, place, kind = ["", "", *name.split(".")]
        mean = f"layers.{int(place) + 1}.running_mean" if place.isdigit() else ""
        return mean if kind == "bias" and name not in self.state_dict() and mean in self.state_dict() else None

    def forward(self, X: Tensor) -> Tensor:  # X shape: (n_samples, ...)
        """Return logits or values.

        Parameters
        ----------
        X : Tensor of shape (n_samples, ...)
            Inputs.

        Returns
        -------
        Tensor of shape (n_samples, n_out)
            Logits, or values in the units of the targets.
        """
        z = (X.reshape(X.shape[0], -1) - self.x_mean) / self.x_std
        return self.layers(z) * self.y_std + self.y_mean


_DEFAULTS: dict[str, Any] = {
    "optimizer": torch.optim.AdamW,
    "optimizer__fused": True,
    "optimizer__weight_decay": 0.5,
    "lr": 0.005,
    "max_epochs": 30,
    "batch_size": 128,
    "iterator_train__shuffle": True,
    "train_split": None,
    "callbacks": "disable",
    "verbose": 0,
}


def mlp_classifier(multilabel: bool = False, **params: Any) -> NeuralNetClassifier:
    """Return a skorch net with an :class:`MLP`, for classification.

    Parameters
    ----------
    multilabel : bool, default=False
        Labels do not exclude each other.
    **params : dict
        Passed on to ``skorch.NeuralNetClassifier``: ``lr``, ``max_epochs``, ``batch_size``, ``module__hidden``, ...

    Returns
    -------
    skorch.NeuralNetClassifier
        An unfitted net; an estimator of this library sizes it to the data.
    """
    _check_names("mlp_classifier", params)
    criterion = nn.BCEWithLogitsLoss if multilabel else nn.CrossEntropyLoss
    return NeuralNetClassifier(MLP, **{**_DEFAULTS, "criterion": criterion, **params})


def mlp_regressor(**params: Any) -> NeuralNetRegressor:
    """Return a skorch net with an :class:`MLP`, for regression.

    Parameters
    ----------
    **params : dict
        Passed on to ``skorch.NeuralNetRegressor``: ``lr``, ``max_epochs``, ``batch_size``, ``module__hidden``, ...

    Returns
    -------
    skorch.NeuralNetRegressor
        An unfitted net; an estimator of this library sizes it to the data.
    """
    _check_names("mlp_regressor", params)
    return NeuralNetRegressor(MLP, **{**_DEFAULTS, "criterion": nn.MSELoss, **params})


def _check_names(maker: str, params: dict[str, Any]) -> None:
    """Raise ``TypeError`` where a parameter of the network is given as one of its net."""
    if wrong := [name for name in params if name in inspect.signature(MLP).parameters]:
        name = wrong[0]
        raise TypeError(
            f"{name} is a parameter of the network, and not of the net that trains it: write "
            f"{maker}(module__{name}={params[name]!r})."
        )


FAR = 1e3
"""How many standard deviations from zero the mean of targets may lie before networks get standardised ones."""

EXTREME = 1e18
"""Size of targets, or one over it, at which the squares of errors leave the range of float32."""


def standardising(y: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the shift and the scale, both of shape (n_outputs,), by which targets are standardised for networks.

    Networks learn ``(y - shift) / scale``. A column is standardised where its mean lies ``FAR`` standard deviations or
    more from zero, as that of timestamps, so that float32 loses digits of it; and where its size is above ``EXTREME``
    or below its inverse, so that float32 cannot hold the squares of errors. The scale is a power of two near the
    standard deviation, and the shift the multiple of it near the mean, so that no digit is lost in float64. Other
    columns have the shift 0 and the scale 1. None where no column is standardised.
    """
    size = np.abs(y).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    mean = np.average(y / size, axis=0, weights=weight)
    std = np.sqrt(np.average((y / size - mean) ** 2, axis=0, weights=weight)) * size
    mean = mean * size
    varied, largest = std > 1e-15 * np.abs(mean), np.maximum(np.abs(mean), std)
    far = varied & (np.abs(mean) >= FAR * std)
    needed = far | (largest > EXTREME) | ((largest > 0) & (largest < 1 / EXTREME))
    if not needed.any():
        return None
    scale = np.where(needed, 2.0 ** np.rint(np.log2(np.where(varied, std, np.where(size > 0, size, 1.0)))), 1.0)
    return np.where(needed, np.rint(mean / scale) * scale, 0.0), scale


def scaling(rows: Rows, task: Task) -> dict[str, np.ndarray] | None:
    """Return the mean and deviation of each column of X, and of y where it holds values; None where X is a dict."""
    return pooled_scaling([rows], task)


def pooled_scaling(
    parts: Sequence[Rows], task: Task, weights: Sequence[float] | None = None
) -> dict[str, np.ndarray] | None:
    """Return the same of rows in several parts, of which nothing but the moments of each are put together.

    ``weights`` are what the parts count for; the sums of the weights of their rows when omitted.
    """
    if isinstance(parts[0].X, dict):
        return None
    total = np.array([len(p) if p.weight is None else p.weight.sum() for p in parts] if weights is None else weights)
    moments, out = [_moments(rows, task) for rows in parts], {}
    for name in moments[0]:
        mean = sum(share * m[name][0] for share, m in zip(total / total.sum(), moments, strict=True))
        variance = sum(
            share * (m[name][1] + (m[name][0] - mean) ** 2)
            for share, m in zip(total / total.sum(), moments, strict=True)
        )
        std = np.sqrt(variance)
        out |= {f"{name}_mean": mean, f"{name}_std": np.where(std > 1e-6 * np.abs(mean), std, 1.0)}
    return out


def _moments(rows: Rows, task: Task) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the mean and the variance of each column of X, and of y where it holds values."""
    columns = {"x": rows.X.reshape(len(rows), -1)} | ({"y": rows.y.astype(np.float32)} if task == "regression" else {})
    moments = {}
    for name, values in columns.items():
        mean = _mean(values, rows.weight, lambda part: part)
        moments[name] = mean, _mean(values, rows.weight, lambda part, m=mean: (part - m) ** 2)
    return moments


def _mean(values: np.ndarray, weight: np.ndarray | None, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the mean of a function of the rows: in float64, and some thousand rows at a time to spare memory."""
    total = np.zeros(values.shape[1])
    for i in range(0, len(values), 4096):
        part = function(values[i : i + 4096].astype(np.float64))
        total += part.sum(axis=0) if weight is None else weight[i : i + 4096] @ part
    return total / (len(values) if weight is None else weight.sum())
