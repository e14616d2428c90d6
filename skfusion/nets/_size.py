"""Fit a net to the data: sizes, dtypes, seeds and targets."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNet
from torch import Tensor, nn

from skfusion.rows import Inputs, Rows, Task

_BINARY = (nn.BCEWithLogitsLoss, nn.BCELoss)
_LOCK = threading.RLock()

SMALL = 1_000_000
"""Networks with fewer parameters gain nothing from a second thread on a quiet machine, and lose much on a busy one."""


@contextmanager
def seeded(seed: int, device: Any = "cpu") -> Iterator[None]:
    """Seed the global generators of torch and numpy, and restore them on leaving.

    Initialisation, dropout and loaders draw from them. A lock keeps threads out of each other's stream.

    Parameters
    ----------
    seed : int
        Non-negative.
    device : str, default="cpu"
        Where the net computes; the generators of GPUs are seeded for one of them only.

    Yields
    ------
    None
        Nothing.
    """
    with _LOCK:
        kept = np.random.get_state()  # noqa: NPY002  users' augmentations draw from it
        on_gpu = torch.device(device or "cpu").type == "cuda"
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if on_gpu else []):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            try:
                yield
            finally:
                np.random.set_state(kept)  # noqa: NPY002


@contextmanager
def few_threads(module: nn.Module) -> Iterator[None]:
    """Use one torch thread for a small network: faster, and the same bits whatever the process may use."""
    before = torch.get_num_threads()
    small = sum(p.numel() for p in module.parameters()) < SMALL
    try:
        torch.set_num_threads(1 if small else before)
        yield
    finally:
        torch.set_num_threads(before)


def is_net(estimator: Any) -> bool:
    """Return whether an estimator is a skorch net.

    Parameters
    ----------
    estimator : object
        Anything.

    Returns
    -------
    bool
        True for instances of ``skorch.NeuralNet``.
    """
    return isinstance(estimator, NeuralNet)


def criterion_type(net: Any) -> type:
    """Return the class of the net's criterion."""
    return net.criterion if isinstance(net.criterion, type) else type(net.criterion)


def targets(net: Any, y: np.ndarray, task: Task) -> np.ndarray:
    """Return encoded targets as the net's criterion takes them."""
    if task == "classification":
        return y.astype(np.float32 if issubclass(criterion_type(net), _BINARY) else np.int64)
    return y.astype(np.float32)


def tensors(X: Inputs, like: torch.dtype, device: Any = "cpu") -> Any:
    """Return inputs as tensors; floating-point ones in the dtype ``like``."""
    if isinstance(X, dict):
        return {k: tensors(v, like, device) for k, v in X.items()}
    x = torch.from_numpy(np.require(X, requirements=["C", "W"]))  # workers get read-only memory maps
    return x.to(device or "cpu", like if x.is_floating_point() else None)


def sized(net: Any, rows: Rows, task: Task, n_outputs: int) -> Any:
    """Return an unfitted clone of ``net`` that fits the data.

    A module class (or function) that takes ``n_in``, ``n_out`` or ``scaling`` is given those that the user has not
    set: the numbers a sample, the outputs, and the data's means and standard deviations. A forward pass of two rows
    then checks the width of the output.

    Parameters
    ----------
    net : skorch net
        Not changed.
    rows : Rows
        The training data.
    task : {"classification", "multilabel", "regression"}
        What the outputs are.
    n_outputs : int
        Classes, labels or targets.

    Returns
    -------
    skorch net
        Unfitted.

    Raises
    ------
    ValueError
        If the output of the net has another width than the target.
    """
    if not is_net(net):
        raise TypeError(
            f"estimator must be a skorch net, such as NeuralNetClassifier(Module); got {type(net).__name__}. "
            "Estimators of other kinds can be stacked: StackingFusion(estimators=[(name, estimator), ...])."
        )
    net = clone(net)
    binary = task == "classification" and issubclass(criterion_type(net), _BINARY)
    if not isinstance(net.module, nn.Module):
        accepted = inspect.signature(net.module).parameters
        given = net.get_params(deep=False)
        n_in = None if isinstance(rows.X, dict) else int(np.prod(rows.X.shape[1:]))
        offers: dict[str, Callable[[], Any]] = {
            "n_in": lambda: n_in,
            "n_out": lambda: 1 if binary else n_outputs,
            "scaling": lambda: _scaling(rows, task),
        }
        for name, offer in offers.items():
            if name in accepted and f"module__{name}" not in given and (value := offer()) is not None:
                net.set_params(**{f"module__{name}": value})
    _check_width(net, rows, task, n_outputs, binary)
    return net


def initialised(net: Any, rows: Rows, keep_net: bool = False) -> nn.Module:
    """Initialise the net (a clone of it unless ``keep_net``) and its lazy layers; return the module."""
    net = net if keep_net else clone(net).set_params(verbose=0)
    net.initialize()
    module: nn.Module = net.module_
    if len(rows) and any(nn.parameter.is_lazy(p) for p in module.parameters()):
        with torch.no_grad():
            run(module.eval(), tensors(rows.take(np.arange(min(2, len(rows)))).X, torch.float32, net.device))
    return module


def run(module: nn.Module, x: Any) -> Tensor:
    """Return the first output of the module."""
    out = module(**x) if isinstance(x, dict) else module(x)
    return out[0] if isinstance(out, tuple) else out


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the module's first floating-point parameter."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def _scaling(rows: Rows, task: Task) -> dict[str, np.ndarray] | None:
    if isinstance(rows.X, dict):
        return None
    columns = {"x": rows.X.reshape(len(rows), -1)} | ({"y": rows.y} if task == "regression" else {})
    out = {}
    for name, values in columns.items():
        mean = np.average(values, axis=0, weights=rows.weight).astype(np.float64)
        std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=rows.weight))
        out |= {f"{name}_mean": mean, f"{name}_std": np.where(std > 1e-6 * np.abs(mean), std, 1.0)}
    return out


def _check_width(net: Any, rows: Rows, task: Task, n_outputs: int, binary: bool) -> None:
    head = rows.take(np.arange(min(2, len(rows))))
    with seeded(0, net.device), torch.no_grad():
        module = initialised(net, rows).eval()
        out = run(module, tensors(head.X, dtype_of(module), net.device))
    shape, n = tuple(out.shape), len(head)
    allowed = [(n, n_outputs)]
    if binary:
        allowed = [(n,), (n, 1)] if n_outputs <= 2 else []
    if shape in allowed:
        return
    noun = {"classification": "classes", "multilabel": "labels", "regression": "targets"}[task]
    hint = "give the module class an n_out parameter, which is then set to the right number"
    if task == "classification":
        hint += ", or name all classes with the net's parameter classes=[...] where some are missing in y"
    if binary:
        hint = f"{criterion_type(net).__name__} tells 2 classes apart; use CrossEntropyLoss for more"
    raise ValueError(
        f"The net returns an output of shape {shape} for {n} rows, but y has {n_outputs} {noun}, which asks for shape "
        f"{(n, n_outputs)}: {hint}."
    )
