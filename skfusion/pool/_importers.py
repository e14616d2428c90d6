"""Pools of networks that were trained elsewhere."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from skfusion import state as states_of
from skfusion._rows import Inputs, Rows
from skfusion.pool._member import Member
from skfusion.pool._pool import ModelPool
from skfusion.state import State

_COMPILED = re.compile(r"(^|\.)_orig_mod\.")


def members_from_estimators(cls: type[ModelPool], estimators: Iterable[Any], X: Any = None, y: Any = None) -> ModelPool:
    """Make a pool of fitted skorch nets.

    Parameters
    ----------
    cls : type of ModelPool
        What to make.
    estimators : iterable of fitted skorch nets, or of (name, net) pairs
        A net is whatever holds a module as ``module_``. Those without a name are called ``net-0``, ``net-1``...
    X, y : array-like, optional
        The rows that the nets were trained on. ``X`` may be a dict of arrays.

    Returns
    -------
    ModelPool
        Copies of the states on the CPU, each with an unfitted copy of its net.

    Raises
    ------
    TypeError
        If an item is not a net.
    ValueError
        If a net is not fitted, nets disagree about the classes, or X and y do not fit together.
    """
    if hasattr(estimators, "module_") or not isinstance(estimators, Iterable):
        raise TypeError(f"Give a list of fitted nets, or of (name, net) pairs; got {type(estimators).__name__}.")
    named = [_named(item, position) for position, item in enumerate(estimators)]
    labels = [getattr(net, "classes_", None) for _, net in named]
    for (name, _), found in zip(named, labels, strict=True):
        if not _same(found, labels[0]):
            raise ValueError(
                f"The classes of net {named[0][0]!r} are {_shown(labels[0])}, those of net {name!r} are "
                f"{_shown(found)}. Members of a pool predict the same classes: train all nets on rows of every class, "
                "or make one pool for each set of classes."
            )
    classes = None if not labels or labels[0] is None else np.asarray(labels[0])
    rows = rows_of(X, y, classes)
    return cls(
        [
            Member(
                name,
                _state_of(net, name),
                meta=_meta_of(net),
                rows=rows,
                net=_unfitted(net),
            )
            for name, net in named
        ],
        classes=classes,
    )


def _named(item: Any, position: int) -> tuple[str, Any]:
    pair = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
    name, net = item if pair else (f"net-{position}", item)
    if isinstance(getattr(net, "module_", None), nn.Module):
        return name, net
    called = f"Item {position}" + (f" ({name!r})" if pair else "")
    if not isinstance(net, type) and hasattr(net, "module") and hasattr(net, "fit"):
        raise ValueError(
            f"{called} of the estimators is a {type(net).__name__} that is not fitted. Call its fit first."
        )
    what = f"the class {net.__name__}" if isinstance(net, type) else f"a {type(net).__name__}"
    raise TypeError(
        f"{called} of the estimators is {what}, not a fitted skorch net: it has no module_. Give the net itself, e.g. "
        "pipeline[-1] of a pipeline or search.best_estimator_ of a search."
    )


def _same(a: Any, b: Any) -> bool:
    return a is b if a is None or b is None else np.array_equal(np.asarray(a), np.asarray(b))


def _shown(classes: Any) -> str:
    return "none (it is no classifier)" if classes is None else str(np.asarray(classes).tolist())


def _state_of(net: Any, name: str) -> State:
    state = net.module_.state_dict()
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"Entry {key!r} in the state of net {name!r} is a {type(value).__name__}; a pool holds tensors only. "
                "Remove get_extra_state from the module."
            )
    copied = states_of.map_tensors(lambda t: t.detach().to("cpu", copy=True), state)
    return {_COMPILED.sub(r"\1", key): value for key, value in copied.items()}


def _meta_of(net: Any) -> dict[str, Any]:
    found = {"source": "from_estimators", "epochs": len(getattr(net, "history", None) or [])}
    if (scale := getattr(net, "target_scale_", None)) is not None:  # which is not in the state
        found["target_scale"] = scale
    return found


def _unfitted(net: Any) -> Any:
    """Return a net with the same parameters and none of the weights."""
    # What sklearn.base.clone calls; sklearn itself may not be imported in this layer.
    if hasattr(net, "__sklearn_clone__"):
        fresh = net.__sklearn_clone__()
    else:
        fresh = type(net)(**copy.deepcopy(net.get_params(deep=False)))
    # A net that was given a module instance has trained that instance, so its copy is trained too.
    for value in vars(fresh).values():
        if isinstance(value, nn.Module):
            _redraw(value)
    return fresh


def _redraw(module: nn.Module) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for part in module.to("cpu").modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()


def rows_of(X: Any, y: Any, classes: np.ndarray | None) -> np.ndarray | None:
    """Return the hashes that training on X and y would have recorded."""
    if X is None and y is None:
        return None
    if X is None or y is None:
        raise ValueError("Give both X and y, or neither: a row is known by its inputs and its target.")
    inputs: Inputs
    if isinstance(X, dict):
        inputs = {key: _as_input(np.asarray(value)) for key, value in X.items()}
    else:
        inputs = np.ascontiguousarray(X, dtype=np.float32)
    target = np.asarray(y)
    lengths = {len(target), *map(len, inputs.values() if isinstance(inputs, dict) else [inputs])}
    if len(lengths) > 1:
        raise ValueError(f"X and y have different numbers of rows: {sorted(lengths)}.")
    if classes is None or (target.ndim > 1 and target.shape[1] > 1):
        if target.dtype.kind not in "biuf":  # of a net that was not fitted, which names no classes: their codes
            target = np.unique(target, return_inverse=True)[1].reshape(target.shape)
        return Rows(inputs, target.astype(np.float32)).marks
    target = target.reshape(-1)
    order = np.argsort(classes, kind="stable")
    codes = order[np.searchsorted(classes, target, sorter=order).clip(max=len(classes) - 1)].astype(np.int64)
    if (unknown := classes[codes] != target).any():
        raise ValueError(
            f"y has labels that the nets do not know: {np.unique(target[unknown])[:5].tolist()}; their classes are "
            f"{classes.tolist()}. Give the y that the nets were fitted with."
        )
    return Rows(inputs, codes).marks


def _as_input(value: np.ndarray) -> np.ndarray:
    narrowed = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.int64}.get(value.dtype.kind, value.dtype)
    return np.ascontiguousarray(value, dtype=narrowed)
