"""Which skorch nets and callbacks vectorized training supports; others are trained one by one in skorch's own loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from skorch import callbacks as known
from skorch.callbacks import Callback
from torch import nn

from skfusion._vectorized import NotVectorizableError, described, difference, member_optimizer
from skfusion.nets._training_callback import Watch

_NOT_OVERRIDDEN = (
    *("fit_loop", "run_single_epoch", "train_step", "train_step_single", "validation_step", "notify", "infer"),
    *("get_train_step_accumulator", "on_batch_begin", "on_batch_end", "on_grad_computed", "get_loss"),
    *("get_dataset", "get_iterator"),
)
"""Methods that vectorized training does without, or calls once for all members; those of whole epochs are free."""

_OF_EACH_MEMBER = {"lr", "optimizer", "module", "callbacks", "iterator_train", "iterator_valid", "train_split"}
"""Parameters of a net that are read for each member; the others are read of the first one."""

_KNOWN_CALLBACKS = (
    *(Watch, known.EpochTimer, known.PrintLog, known.PassthroughScoring, known.EpochScoring, known.EarlyStopping),
    *(known.LRScheduler, known.GradientNormClipping),
)


def check_params(jobs: Sequence[Any]) -> None:
    """Raise where jobs differ in a parameter of the net that is read of the first member only."""
    shared = [{k: v for k, v in job.params.items() if k.partition("__")[0] not in _OF_EACH_MEMBER} for job in jobs]
    first = described(shared[0])
    for other in shared[1:]:
        if (name := difference(first, described(other))) is not None:
            raise NotVectorizableError(f"its members differ in the parameter {name!r}")


def check_net(net: Any) -> None:
    """Raise where an initialised net does what vectorized training cannot do; the error names it."""
    name = type(net).__name__
    for method in _NOT_OVERRIDDEN:
        if not getattr(type(net), method).__module__.startswith("skorch"):
            raise NotVectorizableError(f"{name} overrides {method}")
    if getattr(net, "compile", False) or hasattr(net.module_, "_orig_mod"):
        raise NotVectorizableError("its module is compiled")
    for kind, parts in (("modules", net._modules), ("criteria", net._criteria), ("optimizers", net._optimizers)):
        if len(parts) != 1:
            raise NotVectorizableError(f"{name} has {len(parts)} {kind}")
    if isinstance(net.criterion_, nn.Module) and any(True for _ in net.criterion_.parameters()):
        raise NotVectorizableError("its criterion has parameters")
    for module in net.module_.modules():
        if isinstance(module, nn.RNNBase):
            raise NotVectorizableError(f"torch has no kernel for many {type(module).__name__} layers")
        if isinstance(module, torch.jit.ScriptModule):
            raise NotVectorizableError("its module is a TorchScript one")
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if norm and module.track_running_stats and module.momentum is None:
            raise NotVectorizableError(f"{type(module).__name__}(momentum=None) reads its counter as a number")
    check_optimizer(net)


def check_optimizer(net: Any) -> None:
    """Raise where the optimiser cannot be vectorized, or leaves trained parameters out."""
    member_optimizer([net.optimizer_])
    stepped = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    if any(p.requires_grad and id(p) not in stepped for p in net.module_.parameters()):
        raise NotVectorizableError("its optimiser steps only some of the trained parameters")


def check_callbacks(net: Any) -> None:
    """Raise where a callback acts on single batches, or on files that members would share."""
    for _, callback in net.callbacks_:
        kind = type(callback)
        if kind in _KNOWN_CALLBACKS:
            caching = getattr(callback, "use_caching", False) if net.use_caching == "auto" else net.use_caching
            if isinstance(callback, known.EpochScoring) and callback.on_train and caching:
                raise NotVectorizableError("EpochScoring(on_train=True) keeps the outputs of every batch")
            continue
        if kind.__module__.startswith("skorch"):
            raise NotVectorizableError(f"the callback {kind.__name__} is only known to skorch's own loop")
        for hook in ("on_batch_begin", "on_batch_end", "on_grad_computed"):
            if getattr(kind, hook) is not getattr(Callback, hook):
                raise NotVectorizableError(f"the callback {kind.__name__} acts in {hook}")


def has_user_callback(net: Any) -> bool:
    """Return whether a callback has code that is not skorch's, so that it might do anything between epochs."""
    kinds = (type(c) not in _KNOWN_CALLBACKS or callable(getattr(c, "scoring", None)) for _, c in net.callbacks_)
    return any(kinds)


class WithheldState(dict[Any, Any]):
    """Stands for the state of a member's optimiser, which is kept for all members together: whoever reads it fails."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NotVectorizableError("one of its callbacks looks at the state of the optimiser")

    __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = __eq__ = __reduce_ex__ = _refuse
    get = items = keys = values = pop = popitem = setdefault = update = clear = copy = _refuse
    __hash__ = None  # type: ignore[assignment]
