"""Fit a net to the data: sizes, dtypes, seeds and targets."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import clone, is_classifier, is_regressor
from skorch import NeuralNet
from torch import Tensor, nn

from skfusion._random import seed_scope
from skfusion._rows import Inputs, Rows, Task
from skfusion.nets._embeddings import index_error
from skfusion.nets._mlp import scaling
from skfusion.nets._table_statistics import table_statistics
from skfusion.nets._tabular import batch_size_for
from skfusion.nets.losses._of_members import ALONE
from skfusion.objective import first_output

_SIZES = ("n_in", "n_out", "scaling", "table")
"""Parameters of a module that :func:`sized` gives it."""

_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
_BINARY = (nn.BCEWithLogitsLoss, nn.BCELoss)

SMALL = 1_000_000
"""Networks with fewer parameters gain nothing from a second thread on a quiet machine, and lose much on a busy one."""


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
    """Return whether an estimator is a skorch net."""
    return isinstance(estimator, NeuralNet)


def criterion_type(net: Any) -> type:
    """Return the class of the net's criterion; that of one member where the criterion is the mean of many."""
    kind = net.criterion if isinstance(net.criterion, type) else type(net.criterion)
    return ALONE.get(kind, kind)


def exclusive(net: Any) -> bool:
    """Return whether the criterion of a net is a cross-entropy over classes, which exclude each other."""
    return issubclass(criterion_type(net), _CLASSES)


def two_classes(net: Any) -> bool:
    """Return whether the criterion of a net is a binary cross-entropy, which tells two classes apart but no more."""
    return issubclass(criterion_type(net), _BINARY)


def targets(net: Any, y: np.ndarray, task: Task) -> np.ndarray:
    """Return encoded targets as the net's criterion takes them."""
    if task == "classification":
        return y.astype(np.float32 if two_classes(net) else np.int64)
    return y.astype(np.float32)


def match_shapes(net: Any) -> None:
    """Give targets of shape (n_samples,) the shape of the output where that is (n_samples, 1), for all its members."""
    get_loss = net.get_loss

    def matched(y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Tensor:
        out = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        return get_loss(y_pred, y_true.reshape(len(out), *out.shape[1:][-1:]), *args, **kwargs)

    net.get_loss = matched


def tensors(X: Inputs, like: torch.dtype, device: Any = "cpu") -> Any:
    """Return inputs as tensors; floating-point ones in the dtype ``like``."""
    if isinstance(X, dict):
        return {k: tensors(v, like, device) for k, v in X.items()}
    x = torch.from_numpy(np.require(X, requirements=["C", "W"]))  # workers get read-only memory maps
    return x.to(device or "cpu", like if x.is_floating_point() else None)


def task_of(net: Any, rows: Rows) -> Task:
    """Return what the targets of rows are; the net and their shape say it where the rows do not."""
    if rows.task is not None:
        return rows.task
    if is_regressor(net):
        return "regression"
    return "multilabel" if rows.y.ndim == 2 else "classification"


def sized(net: Any, rows: Rows, n_outputs: int) -> Any:
    """Return an unfitted clone of ``net`` that fits the data; raise ``ValueError`` where its output has another width.

    A module class (or function) that takes ``n_in``, ``n_out`` or ``scaling`` is given those that the user has not
    set: the numbers a sample, the outputs, and the data's means and standard deviations. A forward pass of two rows
    then checks the width of the output.
    """
    if not is_net(net):
        raise no_net(net)
    task = task_of(net, rows)
    _check_task(net, task, n_outputs)
    _check_class_weights(net, task, n_outputs)
    net = clone(net)
    if isinstance(net.batch_size, str) and net.batch_size == "auto":
        net.set_params(batch_size=batch_size_for(len(rows)))
    binary = task == "classification" and two_classes(net)
    if not isinstance(net.module, nn.Module):
        accepted = inspect.signature(net.module).parameters
        given = net.get_params(deep=False)
        n_in = None if isinstance(rows.X, dict) else int(np.prod(rows.X.shape[1:]))
        # As functions, because the scaling takes passes over the data, and most modules do not ask for it.
        offers: dict[str, Callable[[], Any]] = {
            "n_in": lambda: n_in,
            "n_out": lambda: 1 if binary else n_outputs,
            "scaling": lambda: scaling(rows, task),
            "table": lambda: table_statistics(rows, task, given.get("module__categorical", ())),
        }
        for name, offer in offers.items():
            if name not in accepted or f"module__{name}" in given:
                continue
            if (value := offer()) is not None:
                net.set_params(**{f"module__{name}": value})
            elif accepted[name].default is inspect.Parameter.empty:
                raise ValueError(
                    f"The net's module asks for {name}, which a dict of inputs does not tell. Give estimator= a net "
                    f"whose forward takes the inputs {sorted(rows.X)}, or set its module__{name}."
                )
    _check_width(net, rows, task, n_outputs, binary)
    return net


def resized(net: Any, rows: Rows, n_outputs: int, **params: Any) -> Any:
    """Return a sized net with other parameters, sized again; another module need not take the sizes of the former."""
    net = clone(net).set_params(**params)
    if not isinstance(net.module, nn.Module):
        taken = inspect.signature(net.module).parameters
        unknown = {f"module__{name}" for name in _SIZES if name not in taken}
        net = type(net)(**{k: v for k, v in net.get_params(deep=False).items() if k not in unknown})
    return sized(net, rows, n_outputs)


def no_net(estimator: Any) -> TypeError:
    """Return the error that says what was given in place of a net, and where it belongs if it is of another kind."""
    got = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
    remedy = "Estimators of other kinds can be stacked: StackingFusion(estimators=[(name, estimator), ...])."
    if isinstance(estimator, (list, tuple)):
        remedy = "For StackingFusion with members that have names, write estimators=[(name, estimator), ...]."
    return TypeError(f"estimator must be a skorch net, such as NeuralNetClassifier(Module); got {got}. {remedy}")


def initialised(net: Any, rows: Rows, keep_net: bool = False) -> nn.Module:
    """Initialise the net (a clone of it unless ``keep_net``) and its lazy layers; return the module."""
    net = net if keep_net else clone(net).set_params(verbose=0)
    net.initialize()
    module: nn.Module = net.module_
    if _logits_of not in module._forward_hooks.values():
        module.register_forward_hook(_logits_of)  # skorch knows tensors and tuples, not outputs by name
    if len(rows) and any(nn.parameter.is_lazy(p) for p in module.parameters()):
        with torch.no_grad():
            run(module.eval(), tensors(rows.take(np.arange(min(2, len(rows)))).X, torch.float32, net.device))
    return module


def run(module: nn.Module, x: Any) -> Tensor:
    """Return the first output of the module."""
    return first_output(module(**x) if isinstance(x, dict) else module(x))


def _logits_of(_module: nn.Module, _args: Any, out: Any) -> Any:
    return first_output(out) if isinstance(out, Mapping) or hasattr(out, "logits") else out


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the module's first floating-point parameter."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def _check_task(net: Any, task: Task, n_outputs: int) -> None:
    name = type(net).__name__
    if is_classifier(net) and task == "regression":
        raise ValueError(
            f"{name} is a classifier and cannot predict values; use a regressor, such as NeuralNetRegressor."
        )
    if is_regressor(net) and task != "regression":
        raise ValueError(f"{name} is a regressor and cannot classify; use a classifier, such as NeuralNetClassifier.")
    if task == "multilabel" and exclusive(net):
        raise ValueError(
            f"{criterion_type(net).__name__} is for classes that exclude each other, but a row of y can have several "
            "labels: give the net criterion=BCEWithLogitsLoss."
        )
    if task == "classification" and two_classes(net) and n_outputs > 2:
        raise ValueError(
            f"Only binary classification is supported. The type of the target is multiclass: {n_outputs} classes, but "
            f"{criterion_type(net).__name__} tells 2 apart. Give the net criterion=CrossEntropyLoss."
        )


def _check_class_weights(net: Any, task: Task, n_outputs: int) -> None:
    """Raise where weights of classes are no tensor, or not as many as there are classes or labels."""
    kind = criterion_type(net)
    if kind not in (*_CLASSES, nn.BCEWithLogitsLoss):  # other criteria may define their weights differently
        return
    made = isinstance(net.criterion, nn.Module)
    params = vars(net.criterion)["_buffers"] if made else net.get_params_for("criterion")
    name = "weight" if kind in _CLASSES else "pos_weight"
    if (given := params.get(name)) is None:
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


def _check_width(net: Any, rows: Rows, task: Task, n_outputs: int, binary: bool) -> None:
    head = rows.take(np.arange(min(2, len(rows))))
    with seed_scope(0, net.device), torch.no_grad():
        module = initialised(net, rows).eval()
        try:
            out = run(module, tensors(head.X, dtype_of(module), net.device))
        except IndexError as error:
            raise index_error(module, [tensors(rows.X, dtype_of(module), net.device)], error) from error
        except (RuntimeError, TypeError) as error:
            X = rows.X
            shapes = {k: v.shape[1:] for k, v in X.items()} if isinstance(X, dict) else X.shape[1:]
            raise ValueError(
                f"The net cannot run on inputs whose samples have shape {shapes}: {error}.{_hint(module, X, error)}"
            ) from error
    shape, n = tuple(out.shape), len(head)
    allowed = [(n, n_outputs)]
    if binary:
        allowed = [(n,), (n, 1)]
    if shape in allowed:
        if task == "classification" and not binary and issubclass(criterion_type(net), nn.CrossEntropyLoss):
            _warn_of_probabilities(out)
        return
    if not shape or shape[0] != n:
        raise ValueError(
            f"The net returns an output of shape {shape} for {n} rows: its module changes the number of rows, as a "
            "reshape such as x.reshape(-1, 1, 8, 8) does where samples have another size. Keep the first axis: "
            "x.reshape(len(x), ...)."
        )
    noun = {"classification": "classes", "multilabel": "labels", "regression": "targets"}[task]
    hint = "give the module class an n_out parameter, which is then set to the right number"
    if task == "classification":
        hint += ", or name all classes with the net's parameter classes=[...] where some are missing in y"
    if task == "regression" and shape == (n,):
        hint = "return a column, of shape (n, 1), and do not squeeze it"
    if binary:
        hint = f"with {criterion_type(net).__name__} the module returns one number a row; CrossEntropyLoss takes more"
    raise ValueError(
        f"The net returns an output of shape {shape} for {n} rows, but y has {n_outputs} {noun}, which asks for shape "
        f"{allowed[-1]}: {hint}."
    )


def _warn_of_probabilities(out: Tensor) -> None:
    if len(out) and (out > 0).all() and torch.allclose(out.sum(dim=1), torch.ones(()).to(out), atol=1e-4):
        warnings.warn(
            "The module's outputs are probabilities, and the criterion CrossEntropyLoss takes them for logits: with a "
            "softmax of a softmax no class can have a probability near one. Let the module return logits, or leave "
            "skorch's default criterion, NLLLoss, which takes probabilities.",
            stacklevel=2,
        )


def _hint(module: nn.Module, X: Inputs, error: Exception) -> str:
    """Return what may help where a module cannot run on inputs."""
    if not isinstance(X, dict):
        hint = " An array is given as floats; arrays of integers stay as they are in a dict, {'X': X}."
        return hint if "Long" in str(error) else ""
    taken = inspect.signature(module.forward).parameters.values()
    unknown = sorted(X.keys() - {p.name for p in taken})
    if not unknown or any(p.kind is p.VAR_KEYWORD for p in taken):
        return ""
    return (
        f" Each input of the dict is given to forward, which does not take {unknown}. Leave it out; or, where it only "
        f"tells the task of a row, give forward an argument {unknown[0]}=None that it ignores."
    )
