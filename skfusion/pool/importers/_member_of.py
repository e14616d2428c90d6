"""A member from whatever a search has fitted, and what is written down of its settings, rows and start."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from skfusion._keys import distinct
from skfusion.pool._member import Member
from skfusion.pool.importers._from_estimators import _state_of, _unfitted
from skfusion.state import State

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST = 300


def member_of(
    fitted: Any, name: str, *, score: float = math.nan, meta: Mapping[str, Any], rows: np.ndarray | None = None
) -> Member:
    """Return a network's state where there is one network, and else a fitted estimator.

    A skorch net, and a fusion of weights, which predicts with one network, become networks. What stands in a pipeline
    stays in it: its weights mean nothing without the steps before.
    """
    if hasattr(fitted, "state_") and hasattr(fitted, "net_") and isinstance(_module_of(fitted.estimator_), nn.Module):
        fitted = fitted.estimator_
    about = dict(meta)
    if (classes := labels_of(fitted)) is not None:
        about["classes"] = plain(classes)
    if not isinstance(_module_of(fitted), nn.Module):
        return Member(name, score=score, meta=about, rows=rows, estimator=fitted)
    about["epochs"] = len(getattr(fitted, "history", None) or [])
    if (scale := getattr(fitted, "target_scale_", None)) is not None:
        about["target_scale"] = scale
    return Member(name, _state_of(fitted, name), score, about, rows, _unfitted(fitted))


def labels_of(fitted: Any) -> Any:
    """Return the classes that an estimator predicts; None where it has none, or several targets that have their own."""
    classes = getattr(fitted, "classes_", None)
    several = isinstance(classes, list) and any(np.ndim(of_one) for of_one in classes)
    return None if several else classes


def _module_of(fitted: Any) -> Any:
    return getattr(fitted, "module_", None)


def start_of(fusion: Any) -> str | None:
    """Return what identifies the weights from which the members of a fitted fusion start; None where it is unknown."""
    base = getattr(getattr(fusion, "pool_", None), "base", None)
    return None if base is None else digest_of_state(base)


def digest_of_state(state: State) -> str:
    """Return a short hash of the tensors of a state, with their names and shapes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def part_of(marks: np.ndarray | None) -> dict[str, Any] | None:
    """Return how many different rows a part of the data has, and a hash by which it is known; None where unknown."""
    if marks is None:
        return None
    rows = distinct(marks)
    return {"n_rows": len(rows), "digest": hashlib.sha256(rows.tobytes()).hexdigest()[:16]}


def plain(value: Any) -> Any:
    """Return a setting as JSON can hold it: numbers, strings and lists as they are, and other things by their repr."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, type):
        return value.__name__
    # An address is another one in each process, and the layers of a network are many.
    return _ADDRESS.sub("", f"{type(value).__name__}" if isinstance(value, nn.Module) else repr(value))[:_LONGEST]
