"""Members from fitted estimators: of skorch nets copies of their states, of others copies of the estimators."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from skfusion import state as states_of
from skfusion._caller import warn_caller
from skfusion.pool._member import Member, rows_of
from skfusion.state import State

_COMPILED = re.compile(r"(^|\.)_orig_mod\.")


def from_estimators(estimators: Iterable[Any], X: Any, y: Any) -> tuple[list[Member], np.ndarray | None]:
    """Return members and classes; see :meth:`ModelPool.from_estimators`.

    A net is whatever holds a module as ``module_``. Those without a name are called ``net-0``, ``net-1`` and so on, and
    other estimators as their class, with their position.
    """
    if not isinstance(estimators, Iterable) or hasattr(estimators, "module_") or hasattr(estimators, "predict"):
        raise TypeError(f"Give a list of fitted estimators, or of (name, estimator) pairs; got {_kind(estimators)}.")
    named = [_named(item, position) for position, item in enumerate(estimators)]
    classes = _classes_of(named)
    rows = _marks(X, y, classes, all_networks=all(_is_net(fitted) for _, fitted in named))
    return [_member(name, fitted, rows) for name, fitted in named], classes


def _member(name: str, fitted: Any, rows: np.ndarray | None) -> Member:
    meta: dict[str, Any] = {"source": "from_estimators"}
    if not _is_net(fitted):
        return Member(name, meta=meta, rows=rows, estimator=copy.deepcopy(fitted))
    meta["epochs"] = len(getattr(fitted, "history", None) or [])
    if (scale := getattr(fitted, "target_scale_", None)) is not None:  # predictions need it; it is not in the state
        meta["target_scale"] = scale
    return Member(name, _state_of(fitted, name), meta=meta, rows=rows, net=_unfitted(fitted))


def _is_net(fitted: Any) -> bool:
    return isinstance(getattr(fitted, "module_", None), nn.Module)


def _classes_of(named: Sequence[tuple[str, Any]]) -> np.ndarray | None:
    """Return the classes of the columns: those of the nets, in their order, or all that estimators know, sorted."""
    labels = {name: getattr(fitted, "classes_", None) for name, fitted in named}
    by_name: dict[str, Any] = {name: None if known is None else _flat(known) for name, known in labels.items()}
    nets = {name: by_name[name] for name, fitted in named if _is_net(fitted)}
    first = next(iter(by_name), None)
    for name, known in by_name.items():
        if (known is None) != (by_name[first or name] is None):
            raise ValueError(_differing("", first, by_name[first or name], name, known))
    of_net = next(iter(nets), None)
    for name, known in nets.items():
        if not np.array_equal(known, nets[of_net or name]):
            raise ValueError(_differing("net ", of_net, nets[of_net or name], name, known))
    if of_net is None:
        several = [known for known in by_name.values() if known is not None and known.ndim == 1]
        return np.unique(np.concatenate(several)) if several else None
    classes: np.ndarray | None = nets[of_net]
    for name, known in by_name.items():
        if classes is None or known is None or known.ndim != 1:
            continue
        if unknown := [label for label in known.tolist() if label not in set(classes.tolist())]:
            raise ValueError(
                f"Estimator {name!r} knows the classes {unknown[:5]}, which net {of_net!r} does not: its outputs are "
                f"{classes.tolist()}. Train the nets on rows of every class, or make one pool for each set of classes."
            )
    return classes


def _flat(known: Any) -> np.ndarray:
    """Return classes as an array; that of several labels a row, each with classes of its own, has no axis."""
    return np.array(None) if isinstance(known, list) and any(np.ndim(k) for k in known) else np.asarray(known)


def _differing(kind: str, first: Any, of_first: Any, name: str, known: Any) -> str:
    shown = ["none (it is no classifier)" if c is None else str(c.tolist()) for c in (of_first, known)]
    return (
        f"The classes of {kind}{first!r} are {shown[0]}, those of {kind}{name!r} are {shown[1]}. Members of a pool "
        "predict the same classes: train all nets on rows of every class, or make one pool for each set of classes."
    )


def _marks(X: Any, y: Any, classes: np.ndarray | None, all_networks: bool) -> np.ndarray | None:
    if all_networks or X is None or y is None or _are_numbers(X):
        return rows_of(X, y, classes)
    warn_caller(
        "X is no array of numbers, so that its rows cannot be marked, and their use as held-out data is not warned of. "
        "Keep them apart, and leave X and y out."
    )
    return None


def _are_numbers(X: Any) -> bool:
    """Return whether inputs are arrays of numbers, which tables with text and sparse arrays are not."""
    if isinstance(X, dict):
        return True
    try:
        return np.asarray(X, np.float32).ndim > 0
    except (TypeError, ValueError):
        return False


def _named(item: Any, position: int) -> tuple[str, Any]:
    pair = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
    fitted = item[1] if pair else item
    if hasattr(fitted, "kept_run"):  # the best estimator of a search that KeepTrials has wrapped
        fitted = fitted.wrapped
    if pair:
        name = item[0]
    else:
        name = f"net-{position}" if _is_net(fitted) else f"{type(fitted).__name__.lower()}-{position}"
    if _is_net(fitted):
        return name, fitted
    called = f"Item {position}" + (f" ({item[0]!r})" if pair else "")
    if isinstance(fitted, type) or not (hasattr(fitted, "predict") or hasattr(fitted, "fit")):
        raise TypeError(
            f"{called} of the estimators is {_kind(fitted)}, neither a fitted skorch net nor an estimator that "
            "predicts. Give a fitted estimator."
        )
    if not _is_fitted(fitted):
        raise ValueError(f"{called} of the estimators is {_kind(fitted)} that is not fitted. Call its fit first.")
    if not hasattr(fitted, "predict"):
        raise TypeError(f"{called} of the estimators is {_kind(fitted)}, which has no predict. Leave it out.")
    return name, fitted


def _is_fitted(fitted: Any) -> bool:
    """Return whether an estimator of any library has been fitted, as far as it shows.

    It is what ``sklearn.utils.validation.check_is_fitted`` asks; sklearn itself may not be imported in this layer.
    """
    if hasattr(fitted, "module") and hasattr(fitted, "initialize"):  # a skorch net
        return False
    if hasattr(fitted, "__sklearn_is_fitted__"):
        return bool(fitted.__sklearn_is_fitted__())
    if callable(getattr(fitted, "is_fitted", None)):  # as CatBoost has it
        return bool(fitted.is_fitted())
    if not hasattr(fitted, "fit"):  # there is nothing to call first
        return True
    shown = (name for name in getattr(fitted, "__dict__", ()) if name.endswith("_") and not name.startswith("__"))
    return any(shown) or any(hasattr(fitted, name) for name in ("classes_", "n_features_in_"))


def _kind(fitted: Any) -> str:
    return f"the class {fitted.__name__}" if isinstance(fitted, type) else f"a {type(fitted).__name__}"


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
