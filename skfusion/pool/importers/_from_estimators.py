"""Members from fitted skorch nets: copies of their states, each with an unfitted copy of its net."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from skfusion import state as states_of
from skfusion.pool._member import Member, rows_of
from skfusion.state import State

_COMPILED = re.compile(r"(^|\.)_orig_mod\.")


def from_estimators(estimators: Iterable[Any], X: Any, y: Any) -> tuple[list[Member], np.ndarray | None]:
    """Return members and classes; see :meth:`ModelPool.from_estimators`.

    A net is whatever holds a module as ``module_``. Those without a name are called ``net-0``, ``net-1`` and so on.
    """
    if hasattr(estimators, "module_") or not isinstance(estimators, Iterable):
        raise TypeError(f"Give a list of fitted nets, or of (name, net) pairs; got {type(estimators).__name__}.")
    named = [_named(item, position) for position, item in enumerate(estimators)]
    labels: list[Any] = [getattr(net, "classes_", None) for _, net in named]
    labels = [None if of_net is None else np.asarray(of_net) for of_net in labels]
    classes: Any = labels[0] if labels else None
    for (name, _), of_net in zip(named, labels, strict=True):
        if (of_net is None) != (classes is None) or not np.array_equal(of_net, classes):
            shown = ["none (it is no classifier)" if c is None else str(c.tolist()) for c in (classes, of_net)]
            raise ValueError(
                f"The classes of net {named[0][0]!r} are {shown[0]}, those of net {name!r} are {shown[1]}. Members of "
                "a pool predict the same classes: train all nets on rows of every class, or make one pool for each set "
                "of classes."
            )
    rows = rows_of(X, y, classes)
    members = []
    for name, net in named:
        meta: dict[str, Any] = {"source": "from_estimators", "epochs": len(getattr(net, "history", None) or [])}
        if (scale := getattr(net, "target_scale_", None)) is not None:  # predictions need it; it is not in the state
            meta["target_scale"] = scale
        members.append(Member(name, _state_of(net, name), meta=meta, rows=rows, net=_unfitted(net)))
    return members, classes


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


def _unfitted(net: Any) -> Any:
    """Return a net with the same parameters and none of the weights."""
    # What sklearn.base.clone calls; sklearn itself may not be imported in this layer.
    if hasattr(net, "__sklearn_clone__"):
        fresh = net.__sklearn_clone__()
    else:
        fresh = type(net)(**copy.deepcopy(net.get_params(deep=False)))
    # A net that was given a module instance has trained that instance, so its copy is trained too.
    with torch.random.fork_rng(devices=[]):
        for module in (value for value in vars(fresh).values() if isinstance(value, nn.Module)):
            torch.default_generator.manual_seed(0)
            for part in module.to("cpu").modules():
                reset: Any = getattr(part, "reset_parameters", None)
                if reset is not None:
                    reset()
    return fresh
