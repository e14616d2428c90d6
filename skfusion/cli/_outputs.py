"""How the outputs of a network are to be read, judged by what its checkpoints give for all rows."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from skfusion._rows import one_of
from skfusion.cli._table import Data, DataError
from skfusion.nets import dtype_of, mlp_classifier, mlp_regressor, tensors, with_module
from skfusion.objective import call, evaluating
from skfusion.state import State

_ROWS = 1024
"""Rows that are run at once."""
_SUM = 1e-4
"""By how much the sum of the probabilities of a row may miss one."""


class Seen(NamedTuple):
    """What networks gave for all rows."""

    width: int  # numbers a row
    low: float  # the smallest number
    high: float  # the largest one
    off: float  # by how much the numbers of a row miss a sum of one, at most

    @property
    def is_share(self) -> bool:
        """Whether all numbers are in [0, 1]."""
        return self.low >= 0 and self.high <= 1

    @property
    def is_distribution(self) -> bool:
        """Whether the numbers of each row are probabilities of classes that exclude each other."""
        return self.low >= 0 and self.off < _SUM


def inputs_for(module: nn.Module, X: np.ndarray) -> Any:
    """Return inputs as a module takes them: integers stay integers, under their name, where there is an embedding."""
    if X.dtype.kind in "iu" and any(isinstance(m, nn.Embedding) for m in module.modules()):
        return {next(iter(inspect.signature(module.forward).parameters)): X.astype(np.int64)}
    return X


def net_for(module: nn.Module, states: Sequence[State], judged: Data, notes: list[str]) -> tuple[Any, Any, Any, str]:
    """Return a skorch net with a module, the inputs as it takes them, the classes of its outputs, and the net's code.

    All networks are run on all rows; how their outputs are read is noted. The classes are None in regression.
    """
    X = inputs_for(module, judged.X)
    seen = _seen(module, states, X)
    if judged.task == "regression":
        return with_module(mlp_regressor(), module), X, None, "mlp_regressor()"
    if seen.width == 1:
        classes = _classes(judged.y, 2, "one number, which separates two classes")
        net, code = _of_one(seen, classes, notes)
        return with_module(net, module), X, classes, code
    classes = _classes(judged.y, seen.width, f"{seen.width} numbers")
    shown = ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
    notes.append(f"The outputs are taken as {shown}, in this order.")
    net, code = _of_several(seen, notes)
    return with_module(net, module), X, classes, code


def _of_one(seen: Seen, classes: np.ndarray, notes: list[str]) -> tuple[Any, str]:
    if seen.is_share:
        notes.append(
            f"The output is read as a probability, that of {classes[1]} and not {classes[0]}: it is between 0 and 1 "
            "for all rows and networks."
        )
        return mlp_classifier(criterion=nn.BCELoss), "mlp_classifier(criterion=torch.nn.BCELoss)"
    notes.append(
        f"The output is read as log-odds, those of {classes[1]} and not {classes[0]}: it is not always between 0 and 1."
    )
    return mlp_classifier(multilabel=True), "mlp_classifier(multilabel=True)"


def _of_several(seen: Seen, notes: list[str]) -> tuple[Any, str]:
    if seen.is_distribution:
        notes.append("The outputs are read as probabilities: they sum to 1 for all rows and networks.")
        # skorch takes the logarithm itself where the criterion is NLLLoss
        return mlp_classifier(criterion=nn.NLLLoss), "mlp_classifier(criterion=torch.nn.NLLLoss)"
    text = "The outputs are read as logits of classes that exclude each other"
    if seen.is_share:
        text += (
            ", though all are between 0 and 1 without a sum of 1, as sigmoids would be. If they are probabilities, "
            "accuracies of single networks and soups hold, as the largest output wins; losses and the score of "
            "averaged predictions do not. Let the module return logits"
        )
    notes.append(f"{text}.")
    return mlp_classifier(), "mlp_classifier()"


def _seen(module: nn.Module, states: Sequence[State], X: Any) -> Seen:
    width, low, high, off = 1, float("inf"), -float("inf"), 0.0
    for state in states:
        for out in _outputs(module, state, X):
            wide = out.double().reshape(len(out), -1)
            width = wide.shape[1]
            low, high = min(low, float(wide.min())), max(high, float(wide.max()))
            off = max(off, float((wide.sum(1) - 1).abs().max()))
    return Seen(width, low, high, off)


def _outputs(module: nn.Module, state: State, X: Any) -> Iterator[torch.Tensor]:
    n = len(one_of(X))
    for start in range(0, n, _ROWS):
        here = slice(start, start + _ROWS)
        part = {k: v[here] for k, v in X.items()} if isinstance(X, dict) else X[here].astype(np.float32)
        size = len(one_of(part))
        try:
            with torch.no_grad(), evaluating(module):
                out = call(module, state, tensors(part, dtype_of(module)))
        except Exception as error:  # raised by code of the user
            raise DataError(
                f"The module cannot run on rows of shape {one_of(X).shape[1:]}: {type(error).__name__}: {error}. Give "
                "the rows as it was trained on them."
            ) from error
        if out.ndim not in (1, 2) or len(out) != size:
            raise DataError(
                f"The module returns shape {tuple(out.shape)} for {size} rows; only one row of numbers a row can be "
                "judged."
            )
        yield out


def _classes(y: np.ndarray, n: int, outputs: str) -> np.ndarray:
    """Return the labels of n outputs: those in y, or the numbers from 0 where y holds some of them."""
    present = np.unique(y)
    if len(present) == n:
        return present
    if np.issubdtype(present.dtype, np.integer) and present.min() >= 0 and present.max() < n:
        return np.arange(n)
    shown = ", ".join(map(str, present[:10])) + (", ..." if len(present) > 10 else "")
    raise DataError(
        f"The labels do not fit: the target has {len(present)} classes ({shown}), and the networks give {outputs}. "
        "Give rows with all classes, or labels as numbers from 0."
    )
