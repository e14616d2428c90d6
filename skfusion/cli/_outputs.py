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
    else:
        classes = _classes(judged.y, seen.width, f"{seen.width} numbers")
        notes.append(f"The outputs are taken as {_shown(classes)}, in this order.")
    options, note = _reading(seen, classes)
    notes.append(note)
    words = [f"{name}={value if value is True else f'torch.nn.{value.__name__}'}" for name, value in options.items()]
    return with_module(mlp_classifier(**options), module), X, classes, f"mlp_classifier({', '.join(words)})"


def _reading(seen: Seen, classes: np.ndarray) -> tuple[dict[str, Any], str]:
    """Return the parameters of a classifier that reads such outputs rightly, and a note on that."""
    if seen.width == 1:
        what = f"of {classes[1]} and not {classes[0]}"
        if seen.is_share:
            note = f"The output is read as a probability, that {what}: it is between 0 and 1 for all rows and networks."
            return {"criterion": nn.BCELoss}, note
        return {"multilabel": True}, f"The output is read as log-odds, those {what}: it is not always between 0 and 1."
    if seen.is_distribution:
        # skorch takes the logarithm itself where the criterion is NLLLoss
        note = "The outputs are read as probabilities: they sum to 1 for all rows and networks."
        return {"criterion": nn.NLLLoss}, note
    text = "The outputs are read as logits of classes that exclude each other"
    if seen.is_share:
        text += (
            ", though all are between 0 and 1 without a sum of 1, as sigmoids would be. If they are probabilities, "
            "accuracies of single networks and soups hold, as the largest output wins; losses and the score of "
            "averaged predictions do not. Let the module return logits"
        )
    return {}, f"{text}."


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
    raise DataError(
        f"The labels do not fit: the target has {len(present)} classes ({_shown(present)}), and the networks give "
        f"{outputs}. Give rows with all classes, or labels as numbers from 0."
    )


def _shown(classes: np.ndarray) -> str:
    return ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
